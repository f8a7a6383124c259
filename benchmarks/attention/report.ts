/** The shape of the result file of `bench:attention` and the table made of it. */
import { z } from 'zod';
import { percent, spread, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';
import { distributionSchema } from '../lib/statistics.js';

const entrySchema = z.object({
  context: z.number(),
  rows: z.number(),
  implementation: z.string(),
  microseconds: distributionSchema,
  speedOverProgram: z.number(),
  /** Keys and values over time, over the memory's read rate of the same round. */
  shareOfMemory: z.number(),
});

/** What `benchmarks/results/attention.json` holds besides title and provenance. */
export const attentionFields = { roofs: roofsSchema, entries: z.array(entrySchema) };

/** The table as Markdown. */
export function attentionText({
  entries,
}: {
  readonly entries: readonly z.infer<typeof entrySchema>[];
}): string {
  return table(
    [
      'context',
      'rows',
      'implementation',
      'us a layer: least, lower quartile, median',
      'over the program, 2 threads',
      'of the memory rate',
    ],
    entries.map((entry) => [
      String(entry.context),
      String(entry.rows),
      entry.implementation,
      spread(entry.microseconds, 0),
      times(entry.speedOverProgram),
      percent(entry.shareOfMemory),
    ]),
  );
}
