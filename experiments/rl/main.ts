/**
 * The experiments of reinforcement learning: `npm run experiment:rl -- rl-depth --out runs/rl`.
 *
 * Names are rl-fixed-path, rl-depth, rl-objectives and rl-throughput, or `all`. Runs lie in the folder and
 * are shared by the experiments; after Ctrl-C the same command goes on. `--seeds`, `--updates`,
 * `--problems` and `--start-steps` are for shorter ones, `--lanes` says how many runs go at a time.
 * Results are written into the folder; with `--write` also into the repository, from which `report`
 * writes docs/rl-experiments.md.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from 'looplm/errors';
import { takeLock } from 'looplm/node';
import { provenance, writeResult } from '../../benchmarks/lib/harness.js';
import { countFlag, readArguments, runScript } from '../../recipes/run-script.js';
import { experimentsOf } from './arms.js';
import { resultOf } from './collect.js';
import type { Plan } from './jobs.js';
import { DEFAULT_PLAN, stagesOf } from './jobs.js';
import { runJobs } from './lanes.js';
import { RESULTS_FOLDER, writeReport } from './report/write.js';

function settings() {
  const { values, positionals } = readArguments({
    options: {
      out: { type: 'string', default: 'runs/rl' },
      seeds: { type: 'string' },
      updates: { type: 'string' },
      problems: { type: 'string' },
      'start-steps': { type: 'string' },
      lanes: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  if (positionals.length === 0) {
    throw new ConfigError('experiment', 'Name an experiment, all, or report.');
  }
  const plan: Plan = {
    out: values.out,
    seeds: countFlag('seeds', values.seeds, DEFAULT_PLAN.seeds),
    updates: countFlag('updates', values.updates, DEFAULT_PLAN.updates),
    problems: countFlag('problems', values.problems, DEFAULT_PLAN.problems),
    startSteps: countFlag('start-steps', values['start-steps'], DEFAULT_PLAN.startSteps),
  };
  const lanes = countFlag('lanes', values.lanes, availableParallelism());
  return { names: positionals, plan, lanes, isWritten: values.write };
}

async function main(): Promise<number> {
  const { names, plan, lanes, isWritten } = settings();
  if (names.join() === 'report') {
    await writeReport();
    return 0;
  }
  const experiments = experimentsOf(names);
  const lock = await takeLock(join(plan.out, 'experiments.lock'), {
    task: `experiments in ${plan.out}`,
    remedy: 'Wait for them or end them, or name another folder.',
  });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
  try {
    const where = provenance();
    for (const jobs of stagesOf(experiments, plan)) {
      const code = await runJobs(jobs, plan, { lanes, signal: stop.signal });
      if (code !== 0) return code;
    }
    for (const name of experiments) {
      const result = await resultOf(name, plan, where);
      await writeResult(name, result, join(plan.out, `${name}.json`));
      if (isWritten) await writeResult(name, result, join(RESULTS_FOLDER, `${name}.json`));
    }
    return 0;
  } finally {
    await lock.release();
  }
}

await runScript(main);
