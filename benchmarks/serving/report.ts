/** The shape of the result file of `bench:serving`, and the tables made of it. */
import { z } from 'zod';
import { percent, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';

const spreadSchema = z.object({ p50: z.number(), p90: z.number(), p99: z.number() });

const entrySchema = z.object({
  model: z.string(),
  server: z.string(),
  /** How loops are spent. */
  way: z.string(),
  /** Requests a second that come. */
  rate: z.number(),
  /** Loops of a new token. */
  meanDepth: z.number(),
  tokensPerSecond: z.number(),
  /** Over full depth of the same server at the same rate; absent where there is none. */
  overFullDepth: z.number().optional(),
  firstToken: spreadSchema,
  betweenTokens: spreadSchema,
});

/** What `benchmarks/results/serving.json` holds besides title and provenance. */
export const servingFields = {
  roofs: roofsSchema,
  busyFraction: z.number(),
  /** Of the bundled model, and of the large one. */
  workloads: z.array(
    z.object({
      model: z.string(),
      numRequests: z.number(),
      promptTokens: z.number(),
      newTokens: z.number(),
    }),
  ),
  entries: z.array(entrySchema),
};

export type ServingEntry = z.infer<typeof entrySchema>;

interface Result {
  readonly busyFraction: number;
  readonly workloads: z.infer<(typeof servingFields)['workloads']>;
  readonly entries: readonly ServingEntry[];
}

const spread = ({ p50, p90, p99 }: z.infer<typeof spreadSchema>) =>
  [p50, p90, p99].map((value) => value.toFixed(0)).join(', ');

/** The tables as Markdown. */
export function servingText({ busyFraction, workloads, entries }: Result): string {
  const rows = entries.map((entry) => [
    entry.model,
    entry.server,
    entry.way,
    entry.rate.toString(),
    entry.meanDepth.toFixed(2),
    entry.tokensPerSecond.toFixed(1),
    entry.overFullDepth === undefined ? '' : times(entry.overFullDepth),
    spread(entry.firstToken),
    spread(entry.betweenTokens),
  ]);
  const loads = workloads.map(
    ({ model, numRequests, promptTokens, newTokens }) =>
      `${model}: ${numRequests} requests of ${promptTokens} prompt tokens and ${newTokens} new ones`,
  );
  return [
    `${loads.join('; ')}. Before the runs the processors were ${percent(busyFraction)} busy.`,
    table(
      [
        'model',
        'server',
        'loops',
        'requests/s',
        'mean depth',
        'tokens/s',
        'over full depth',
        'first token, ms: p50, p90, p99',
        'between tokens, ms: p50, p90, p99',
      ],
      rows,
    ),
  ].join('\n\n');
}
