/** What the dashboard, the alerts and the endpoint picker ask for. */
import { readFileSync } from 'node:fs';
import { repositoryPath } from '../repository.js';

/** A query, and where it is from. */
export interface Query {
  readonly from: string;
  readonly expr: string;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly definition?: string }[];
  };
}

function dashboard(): Dashboard {
  const path = repositoryPath('deploy/grafana/looplm.json');
  return JSON.parse(readFileSync(path, 'utf8')) as Dashboard;
}

/** Grafana's variables as it fills them in: all models, all replicas, a rate over some scrapes. */
function fill(expr: string, rateInterval: string): string {
  return expr
    .replaceAll(/\$(?:model|instance)\b/g, '.*')
    .replaceAll('$__rate_interval', rateInterval);
}

/** Queries of all panels, filled in. */
export function dashboardQueries(rateInterval: string): readonly Query[] {
  return dashboard().panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ from: title, expr: fill(expr, rateInterval) })),
  );
}

/** Metrics whose labels the variables of the dashboard are taken from, as queries. */
export function variableQueries(): readonly Query[] {
  return dashboard().templating.list.flatMap(({ name, definition = '' }) => {
    const metric = /^label_values\((.*), \w+\)$/.exec(definition)?.[1];
    return metric === undefined ? [] : [{ from: `variable ${name}`, expr: fill(metric, '') }];
  });
}

/** Expressions of all alerts. */
export function alertQueries(): readonly Query[] {
  const text = readFileSync(repositoryPath('deploy/prometheus/looplm.rules.yml'), 'utf8');
  const alerts = text.split(/^ +- alert: /m).slice(1);
  return alerts.map((alert) => {
    const expr = /^ +expr: (?:>-\n)?([\s\S]*?)\n +for: /m.exec(alert)?.[1] ?? '';
    return { from: alert.split('\n')[0]!, expr: expr.replaceAll(/\s+/g, ' ').trim() };
  });
}

/** Metrics that the endpoint picker of Kubernetes reads. */
export function pickerQueries(): readonly Query[] {
  const text = readFileSync(repositoryPath('deploy/kubernetes/endpoint-picker.yaml'), 'utf8');
  return [...text.matchAll(/^ +(\w+)Spec: (\S+)$/gm)].map(([, name, metric = '']) => ({
    from: `endpoint picker, ${name}`,
    expr: metric,
  }));
}

const METRIC = /\b(?:vllm|looplm):[a-z0-9_]+|\bhaproxy_[a-z0-9_]+|\bup(?=\{)/g;

/** Names of the metrics in an expression. */
export function metricsOf(expr: string): readonly string[] {
  return [...new Set(expr.match(METRIC))];
}
