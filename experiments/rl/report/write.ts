/** Writes the page of the experiments and its pictures from the result files of the repository. */
import { join } from 'node:path';
import { ConfigError } from 'looplm/errors';
import { fileExists, readTextFile, writeFileAtomic } from 'looplm/node';
import type { ExperimentName } from '../arms.js';
import { EXPERIMENTS } from '../arms.js';
import type { Result } from '../figures.js';
import { resultSchema } from '../figures.js';
import { pageOf } from './page.js';

export const RESULTS_FOLDER = 'experiments/rl/results';
const PAGE = 'rl-experiments.md';

/** @throws ConfigError if there are no results, or some of another form */
export async function writeReport(folder = 'docs'): Promise<void> {
  const results = new Map<ExperimentName, Result>();
  for (const name of Object.keys(EXPERIMENTS) as ExperimentName[]) {
    const path = join(RESULTS_FOLDER, `${name}.json`);
    if (!(await fileExists(path))) continue;
    const parsed = resultSchema.safeParse(JSON.parse(await readTextFile(path)));
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new ConfigError(
        path,
        `${path} has another form (${issue!.path.join('.')}: ${issue!.message}); run the experiment again.`,
      );
    }
    results.set(name, parsed.data);
  }
  const { text, pictures } = pageOf(results);
  await writeFileAtomic(join(folder, PAGE), text);
  for (const [name, svg] of Object.entries(pictures)) {
    await writeFileAtomic(join(folder, 'images', name), svg);
  }
}
