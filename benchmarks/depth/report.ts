/** The shape of the result file of `bench:depth`, the goals, the tables and the picture made of it. */
import { z } from 'zod';
import { lineChart } from 'looplm/charts';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import { percent, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';
import { NUM_LOOPS } from './schedule.js';

const entrySchema = z.object({
  context: z.number(),
  kvPolicy: z.string(),
  meanDepth: z.number(),
  tokenMs: z.number(),
  readoutMs: z.number(),
  speedUp: z.number(),
  shareOfIdeal: z.number(),
  loopsSpeedUp: z.number(),
  loopsShareOfIdeal: z.number(),
  /** Weights, keys and values over time, over the memory's read rate beside the run. */
  shareOfMemory: z.number(),
});

/** What `benchmarks/results/depth.json` holds besides title and provenance. */
export const depthFields = {
  roofs: roofsSchema,
  model: z.string(),
  /** Time of the processors that went elsewhere, 0 to 1. */
  busyFraction: z.number(),
  entries: z.array(entrySchema),
  goals: z.array(goalSchema),
};

export type DepthEntry = z.infer<typeof entrySchema>;

interface Result {
  readonly model: string;
  readonly busyFraction: number;
  readonly entries: readonly DepthEntry[];
  readonly goals: readonly Goal[];
}

const MIN_SHARE = 0.97;
/** Under per-loop deferred loops are run after all: the price of exactness, at mean depth 2.5. */
const MIN_EXACT_SHARE = 0.9;
const EXACT_MEAN_DEPTH = 2.5;

type Share = 'shareOfIdeal' | 'loopsShareOfIdeal';

/** The goals and what was reached; where they hold for every mean depth, the worst counts. */
export function goalsOf(entries: readonly DepthEntry[]): readonly Goal[] {
  const contexts = [...new Set(entries.map(({ context }) => context))];
  const shares = [
    ['the whole token', 'shareOfIdeal'],
    ['the loops alone', 'loopsShareOfIdeal'],
  ] as const satisfies readonly (readonly [string, Share])[];
  return contexts.flatMap((context) =>
    shares.flatMap(([what, share]) => {
      const of = (policy: string) =>
        entries.filter((entry) => entry.context === context && entry.kvPolicy === policy);
      const sharesOf = (found: readonly DepthEntry[]) => found.map((entry) => entry[share]);
      return [
        goal(
          `per-loop at ${context}, mean depth ${EXACT_MEAN_DEPTH}, share of the ideal of ${what}`,
          { atLeast: MIN_EXACT_SHARE },
          sharesOf(of('per-loop').filter(({ meanDepth }) => meanDepth === EXACT_MEAN_DEPTH)),
        ),
        ...['last-exited', 'shared'].map((policy) =>
          goal(
            `${policy} at ${context}, worst mean depth, share of the ideal of ${what}`,
            { atLeast: MIN_SHARE },
            sharesOf(of(policy)),
          ),
        ),
      ];
    }),
  );
}

/** The tables as Markdown. */
export function depthText({ model, busyFraction, entries, goals }: Result): string {
  const speeds = table(
    [
      'context',
      'KV policy',
      'mean depth',
      'ms a token',
      'of it readout',
      'speed-up',
      'share of ideal',
      'speed-up of the loops alone',
      'share of ideal',
      'of the memory rate',
    ],
    entries.map((entry) => [
      String(entry.context),
      entry.kvPolicy,
      entry.meanDepth.toFixed(1),
      entry.tokenMs.toFixed(1),
      entry.readoutMs.toFixed(1),
      times(entry.speedUp),
      percent(entry.shareOfIdeal),
      times(entry.loopsSpeedUp),
      percent(entry.loopsShareOfIdeal),
      percent(entry.shareOfMemory),
    ]),
  );
  const about = `Random weights, ${model}; keys and values in i8. Between runs the processors were ${percent(busyFraction)} busy.`;
  return [about, speeds, goalTable(goals)].join('\n\n');
}

/** SVG text: speed-up of the whole token against mean depth, a panel for each context. */
export function depthChart({ entries }: Result): string {
  const contexts = [...new Set(entries.map(({ context }) => context))];
  const policies = [...new Set(entries.map(({ kvPolicy }) => kvPolicy))];
  const most = Math.max(NUM_LOOPS, ...entries.map(({ speedUp }) => speedUp));
  const depths = Array.from({ length: 61 }, (_, index) => 1 + index / 20);
  const ideal = {
    name: 'ideal: R / mean depth',
    isReference: true,
    points: depths.map((depth) => [depth, NUM_LOOPS / depth] as const),
  };
  return lineChart({
    title: 'What stopping early saves',
    panels: contexts.map((context) => ({
      name: `context ${context}`,
      x: { name: 'mean depth (loops)', min: 1, max: NUM_LOOPS },
      y: {
        name: 'speed-up over full depth',
        min: 0,
        max: Math.ceil(2 * most) / 2,
        format: (value) => `${value} x`,
      },
      lines: [
        ...policies.map((policy) => ({
          name: policy,
          points: entries
            .filter((entry) => entry.context === context && entry.kvPolicy === policy)
            .map(({ meanDepth, speedUp }) => [meanDepth, speedUp] as const),
        })),
        ideal,
      ],
    })),
  });
}
