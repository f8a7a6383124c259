/** The files of deploy/: HAProxy and Prometheus take them, and the arrangement keeps its promises. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { TestContext } from 'vitest';
import { missingPrograms } from '../programs.js';
import { checkBalancerConfig } from './balancer.js';
import { checkPrometheusConfig } from './prometheus.js';
import { alertQueries, dashboardQueries, metricsOf } from './queries.js';
import { DEPLOY_PROGRAMS, playScenario } from './scenario.js';

function skipWithoutPrograms(context: TestContext): void {
  const missing = missingPrograms(DEPLOY_PROGRAMS);
  if (missing.length === 0) return;
  context.skip(`needs ${missing.join(', ')}; npm run test:deploy installs them`);
}

test('HAProxy and Prometheus take the files that ship', (context) => {
  skipWithoutPrograms(context);
  expect(() => checkBalancerConfig()).not.toThrow();
  expect(() => checkPrometheusConfig()).not.toThrow();
});

test('nothing is lost or mixed up when a replica drains or dies', async (context) => {
  skipWithoutPrograms(context);
  const folder = mkdtempSync(join(tmpdir(), 'looplm-deploy-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const faults = await playScenario({
    seed: 1,
    numRequests: 32,
    maxTokens: 80,
    numSessions: 2,
    folder,
    say: () => {},
  });
  expect(faults).toEqual([]);
});

test('every panel and every alert asks for metrics', () => {
  const queries = [...dashboardQueries('1m'), ...alertQueries()];
  expect(queries.length).toBeGreaterThan(30);
  for (const { from, expr } of queries) expect(metricsOf(expr), from).not.toEqual([]);
});
