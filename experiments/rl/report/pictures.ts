/** The pictures of the experiments, as SVG by file name. Bands are one deviation over seeds. */
import type { Line, LinePanel } from 'looplm/charts';
import { lineChart } from 'looplm/charts';
import type { ArmName } from '../arms.js';
import { ARMS, EXPERIMENTS } from '../arms.js';
import type { Result } from '../figures.js';
import type { NamedFrontier } from './series.js';
import { curvesOf, looksOf, meanFrontier } from './series.js';
import { lineOf } from '../../lib/spread.js';

const percent = (value: number) => `${Math.round(100 * value)} %`;
const DEPTHS = { min: 1, max: 4, ticks: [1, 2, 3, 4] } as const;

function panel(result: Result, name: string, y: LinePanel['y'], lines: readonly Line[]): LinePanel {
  return { name, x: { name: 'update', min: 0, max: result.settings['updates']! }, y, lines };
}

export function fixedPathCharts(result: Result): Readonly<Record<string, string>> {
  const arms = EXPERIMENTS['rl-fixed-path'];
  const each = (seriesOf: (arm: ArmName) => Parameters<typeof lineOf>[1]) =>
    arms.map((arm) => lineOf(ARMS[arm].title, seriesOf(arm)));
  const curve = (figure: 'reward' | 'meanDepth' | 'divergence') =>
    each((arm) => curvesOf(result, arm, figure));
  const reward = { name: 'reward, greedy', format: percent, min: 0 };
  return {
    'rl-fixed-path.svg': lineChart({
      title: 'Rollouts, and what is trained on them',
      hasMarkers: false,
      panels: [
        panel(result, 'reward', { name: 'of rollouts', format: percent, min: 0 }, curve('reward')),
        panel(result, 'depth', { name: 'mean, loops', ...DEPTHS }, curve('meanDepth')),
        panel(result, 'mismatch', { name: 'nats a token' }, curve('divergence')),
      ],
    }),
    'rl-fixed-path-deployed.svg': lineChart({
      title: 'Fresh problems, by how the policy is run',
      hasMarkers: false,
      panels: [
        panel(
          result,
          'with exits drawn from the gate',
          reward,
          each((arm) => looksOf(result, arm, 'sampled', 'reward')),
        ),
        panel(
          result,
          'at full depth',
          reward,
          each((arm) => looksOf(result, arm, 'full', 'reward')),
        ),
      ],
    }),
  };
}

export function depthChart(result: Result): string {
  const lines = (figure: 'reward' | 'meanDepth' | 'executedShare') =>
    EXPERIMENTS['rl-depth'].map((arm) =>
      lineOf(ARMS[arm].title, looksOf(result, arm, arm === 'grpo' ? 'full' : 'sampled', figure)),
    );
  const ofRollouts = EXPERIMENTS['rl-depth'].map((arm) =>
    lineOf(ARMS[arm].title, curvesOf(result, arm, 'executedShare')),
  );
  return lineChart({
    title: 'Depth as an action against fixed depth, on fresh problems',
    hasMarkers: false,
    panels: [
      panel(result, 'reward', { name: 'greedy', format: percent, min: 0 }, lines('reward')),
      panel(result, 'exit depth', { name: 'mean, loops', ...DEPTHS }, lines('meanDepth')),
      panel(
        result,
        'loops run',
        { name: 'of all, prompt included', format: percent, min: 0, max: 1 },
        lines('executedShare'),
      ),
      panel(
        result,
        'in rollouts',
        { name: 'loops, prompt shared', format: percent, min: 0 },
        ofRollouts,
      ),
    ],
  });
}

export function frontierPicture(frontiers: readonly NamedFrontier[]): string {
  return lineChart({
    title: 'Accuracy of the hard word by mean depth',
    panels: [
      {
        x: { name: 'mean exit depth (loops)', ...DEPTHS },
        y: { name: 'accuracy', format: percent },
        lines: frontiers.map((one) => {
          const points = meanFrontier(one).toSorted((a, b) => a.meanDepth - b.meanDepth);
          return {
            name: one.name,
            points: points.map(({ meanDepth, accuracy }) => [meanDepth, accuracy] as const),
            ...(one.runs.length > 1 && {
              band: points.map(
                ({ meanDepth, accuracy, deviation }) =>
                  [meanDepth, accuracy - deviation, accuracy + deviation] as const,
              ),
            }),
          };
        }),
      },
    ],
  });
}

export function objectivesChart(result: Result): string {
  const arms = EXPERIMENTS['rl-objectives'];
  const lines = (deployment: 'full' | 'sampled') =>
    arms.map((arm) => lineOf(ARMS[arm].title, looksOf(result, arm, deployment, 'reward')));
  const y = { name: 'reward, greedy', format: percent, min: 0 };
  return lineChart({
    title: 'Objectives on one task, fresh problems',
    hasMarkers: false,
    panels: [
      panel(result, 'at full depth', y, lines('full')),
      panel(result, 'with exits drawn from the gate', y, lines('sampled')),
    ],
  });
}
