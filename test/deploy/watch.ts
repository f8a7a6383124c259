/** What Prometheus must know after all that. */
import { until } from '../programs.js';
import type { Prometheus } from './prometheus.js';
import {
  alertQueries,
  dashboardQueries,
  metricsOf,
  pickerQueries,
  variableQueries,
} from './queries.js';

const RATE_INTERVAL = '5m';

/** Waits until the alert for a dead replica has something to tell. */
export async function watchReplicaDown(prometheus: Prometheus, port: number): Promise<void> {
  const alert = alertQueries().find(({ from }) => from === 'LoopLMReplicaDown');
  await until('Prometheus misses the replica', async () => {
    const down = await prometheus.query(alert?.expr ?? '');
    return down.some(({ metric }) => metric['instance'] === `127.0.0.1:${port}`) || undefined;
  });
}

/**
 * Every query of the dashboard and of the endpoint picker must give numbers, every alert must be understood, and every metric that
 * either asks for must exist.
 */
export async function watchQueries(
  prometheus: Prometheus,
  faults: string[],
  say: (line: string) => void,
): Promise<void> {
  const panels = [...dashboardQueries(RATE_INTERVAL), ...variableQueries(), ...pickerQueries()];
  for (const { from, expr } of panels) {
    try {
      await until(
        'a number',
        async () => {
          const series = await prometheus.query(expr);
          return series.some(({ value }) => Number.isFinite(value)) || undefined;
        },
        5000,
      );
    } catch (error) {
      faults.push(`${from}: ${expr}: no number (${String(error)})`);
    }
  }
  const alerts = alertQueries();
  let numFiring = 0;
  for (const { from, expr } of alerts) {
    try {
      numFiring += Math.min(1, (await prometheus.query(expr)).length);
    } catch (error) {
      faults.push(`alert ${from}: ${String(error)}`);
    }
  }
  const known = new Set(await prometheus.metricNames());
  for (const { from, expr } of [...panels, ...alerts]) {
    const metrics = metricsOf(expr);
    if (metrics.length === 0) faults.push(`${from} asks for no metric: ${expr}`);
    for (const name of metrics) {
      if (!known.has(name)) faults.push(`${from} asks for ${name}, which nobody has`);
    }
  }
  say(
    `Prometheus: ${panels.length} queries of the dashboard and the endpoint picker give numbers, ${alerts.length} alerts are understood, ${numFiring} of them true now`,
  );
}
