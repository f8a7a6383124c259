/** The shape of the result file of `bench:generate` and the table made of it. */
import { z } from 'zod';
import { percent, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';

const entrySchema = z.object({
  model: z.string(),
  kvPolicy: z.string(),
  exits: z.string(),
  meanDepth: z.number(),
  tokensPerSecond: z.number(),
  speedUp: z.number(),
  shareOfIdeal: z.number(),
  /** Of float32 products in the same round. */
  shareOfProducts: z.number(),
  /** Of reading memory; where tokens do not share the weights that are read. */
  shareOfMemory: z.number().optional(),
});

/** What `benchmarks/results/generate.json` holds besides title and provenance. */
export const generateFields = { roofs: roofsSchema, entries: z.array(entrySchema) };

/** The table as Markdown. */
export function generateText({
  entries,
}: {
  readonly entries: readonly z.infer<typeof entrySchema>[];
}): string {
  return table(
    [
      'model',
      'KV policy',
      'exits',
      'mean depth',
      'tokens/s',
      'speed-up',
      'share of ideal',
      'of the products',
      'of the memory rate',
    ],
    entries.map((entry) => [
      entry.model,
      entry.kvPolicy,
      entry.exits,
      entry.meanDepth.toFixed(2),
      entry.tokensPerSecond.toFixed(1),
      times(entry.speedUp),
      percent(entry.shareOfIdeal),
      percent(entry.shareOfProducts),
      entry.shareOfMemory === undefined ? '' : percent(entry.shareOfMemory),
    ]),
  );
}
