/** The shape of the result file of `bench:attention` and the table made of it. */
import { z } from 'zod';
import { table, times } from '../lib/markdown.js';

const entrySchema = z.object({
  context: z.number(),
  rows: z.number(),
  implementation: z.string(),
  microseconds: z.number(),
  fastest: z.number(),
  speedOverProgram: z.number(),
});

/** What `benchmarks/results/attention.json` holds besides title and provenance. */
export const attentionFields = { entries: z.array(entrySchema) };

/** The table as Markdown. */
export function attentionText({
  entries,
}: {
  readonly entries: readonly z.infer<typeof entrySchema>[];
}): string {
  return table(
    ['context', 'rows', 'implementation', 'us a layer', 'fastest', 'over the program, 2 threads'],
    entries.map((entry) => [
      String(entry.context),
      String(entry.rows),
      entry.implementation,
      entry.microseconds.toFixed(0),
      entry.fastest.toFixed(0),
      times(entry.speedOverProgram),
    ]),
  );
}
