/** What a policy came to from update to update. */
import { lineChart } from './line-chart.js';

/** A record of reinforcement learning as far as its curves need it. */
export interface PolicyRecord {
  readonly trainStep: number;
  /** Mean over the rollouts of the update. */
  readonly reward: number;
  /** Mean exit depth of their tokens. */
  readonly meanDepth: number;
}

/** Mean reward and mean depth against the train step, side by side. */
export function policyCurves(records: readonly PolicyRecord[]): string {
  const x = { name: 'train step', max: Math.max(...records.map(({ trainStep }) => trainStep)) };
  const panel = (what: string, valueOf: (record: PolicyRecord) => number) => ({
    name: what,
    x,
    y: { name: what },
    lines: [
      {
        name: 'rollouts',
        points: records.map((record) => [record.trainStep, valueOf(record)] as const),
      },
    ],
  });
  return lineChart({
    title: 'Reward and depth of rollouts',
    hasMarkers: false,
    panels: [
      panel('reward', ({ reward }) => reward),
      panel('mean exit depth (loops)', ({ meanDepth }) => meanDepth),
    ],
  });
}
