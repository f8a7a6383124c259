/**
 * What options of loops and layers cost and bring: `npm run experiment:loops -- [--train-steps N]
 * [--seeds N] [--json FILE]`. Each run is a process of one thread. Runs that are in the result file
 * are not done again, so that it goes on after Ctrl-C. At the end the page is written, which
 * `npm run experiment:loops -- report` does alone.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ConfigError } from 'looplm/errors';
import { provenance, writeResult } from '../../benchmarks/lib/harness.js';
import { readmesSha256 } from '../../benchmarks/lib/readmes.js';
import { countFlag, readArguments, runScript } from '../../recipes/run-script.js';
import { writePage } from './page.js';
import type { Results } from './results.js';
import { readResults, RESULTS_FILE, runKey } from './results.js';
import type { Job, RunFigures, VariantName } from './runs.js';
import { TOKENS_PER_STEP, VARIANTS } from './runs.js';

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

async function main(): Promise<void> {
  const { values, positionals } = readArguments({
    options: {
      'train-steps': { type: 'string' },
      seeds: { type: 'string' },
      json: { type: 'string', default: RESULTS_FILE },
    },
    allowPositionals: true,
  });
  const path = values.json;
  const isReport = positionals.join() === 'report';
  if (positionals.length > 0 && !isReport) {
    throw new ConfigError(
      'report',
      `Got ${positionals.join(' ')}; say report, or nothing for the runs as well.`,
    );
  }
  if (!isReport) {
    const trainSteps = countFlag('train-steps', values['train-steps'], 300);
    const seeds = countFlag('seeds', values.seeds, 3);
    await runAll({ trainSteps, seeds, tokensPerStep: TOKENS_PER_STEP }, path);
  }
  const results = await readResults(path);
  if (results && path === RESULTS_FILE) await writePage(results);
}

/** Seed after seed, so that runs which are compared are near each other in time. */
async function runAll(settings: Results['settings'], path: string): Promise<void> {
  const text = await readmesSha256();
  const saved = await readResults(path);
  const isSame = saved?.text === text && saved.settings.trainSteps === settings.trainSteps;
  const runs: Record<string, RunFigures> = isSame ? { ...saved.runs } : {};
  for (let seed = 1; seed <= settings.seeds; seed++) {
    for (const name of Object.keys(VARIANTS) as VariantName[]) {
      const key = runKey(name, seed);
      if (runs[key]) continue;
      runs[key] = await runAlone({ name, seed, trainSteps: settings.trainSteps });
      process.stderr.write(
        `${key}: ${runs[key].lossByDepth.map((loss) => loss.toFixed(3)).join(' ')}\n`,
      );
      await writeResult('loops', { settings, text, ...provenance(), runs }, path);
    }
  }
}

/** In a process of its own, whose memory is measured. */
async function runAlone(job: Job): Promise<RunFigures> {
  const { stdout } = await promisify(execFile)(process.execPath, [WORKER, JSON.stringify(job)]);
  return JSON.parse(stdout) as RunFigures;
}

await runScript(main);
