/** The file of results: every run with its figures, so that a command goes on where it was stopped. */
import { z } from 'zod';
import { ConfigError } from 'looplm/errors';
import { fileExists, readTextFile } from 'looplm/node';

export const RESULTS_FILE = 'experiments/loops/results.json';

const number = z.number();
const resultsSchema = z.object({
  settings: z.object({ trainSteps: number, seeds: number, tokensPerStep: number }),
  /** Of the text, shortened. */
  text: z.string(),
  commit: z.string(),
  machine: z.string(),
  versions: z.record(z.string(), z.string()),
  /** By variant and seed. */
  runs: z.record(
    z.string(),
    z.object({ lossByDepth: z.array(number), seconds: number, peakBytes: number }),
  ),
});
export type Results = z.infer<typeof resultsSchema>;

export const runKey = (name: string, seed: number) => `${name}, seed ${seed}`;

/**
 * @returns undefined if there is no such file
 * @throws ConfigError if it holds something else
 */
export async function readResults(path: string): Promise<Results | undefined> {
  if (!(await fileExists(path))) return undefined;
  const parsed = resultsSchema.safeParse(JSON.parse(await readTextFile(path)));
  if (parsed.success) return parsed.data;
  throw new ConfigError(path, `${path} has another form. Remove it, and run the experiment again.`);
}
