/**
 * Trains the model, or one that it is compared with: `npm run recipe:reason -- runs/reason`.
 *
 * Everything is in the run's folder; after Ctrl-C, or a machine that went down, the same command goes
 * on and ends in the same weights. `--variant twin` or `iso-flop` trains a model to compare with, which
 * with `--like FOLDER` sees the problems that the run of that folder saw. `--seed` and `--train-steps`
 * are those of another run, `--threads` says with how many threads.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { generatedSource } from 'looplm/data';
import { ConfigError, LoopLMError } from 'looplm/errors';
import { initializeWeights, saveCheckpoint } from 'looplm/model';
import { createNodeDevice, nodeFolder, takeLock } from 'looplm/node';
import { Tokenizer } from 'looplm/tokenizer';
import type { Device } from 'looplm/runtime';
import { laneCount, train } from 'looplm/train';
import { LENGTH, ROWS, VARIANTS, modelConfig, trainConfig } from './configs.js';
import { Course } from './course.js';
import { Scribe } from './documents.js';
import { FIRST_TASK, TASKS } from './tasks/index.js';
import { tokenizerFiles, tokenizerJson } from './tokenizer.js';

/** Share of right answers at which a lesson counts as learnt. */
const LEARNT = 0.85;
/** Train steps between looks at problems of every difficulty. */
const UNIFORM_EVERY = 500;

function settings() {
  const { values, positionals } = parseArgs({
    options: {
      variant: { type: 'string', default: 'looped' },
      seed: { type: 'string', default: '7' },
      threads: { type: 'string', default: '2' },
      like: { type: 'string' },
      'train-steps': { type: 'string', default: '15000' },
    },
    allowPositionals: true,
  });
  const [path] = positionals;
  const variant = VARIANTS.find((name) => name === values.variant);
  const trainSteps = Number(values['train-steps']);
  if (path === undefined || variant === undefined || !Number.isSafeInteger(trainSteps)) {
    throw new ConfigError(
      'folder',
      `Give the folder of the run: npm run recipe:reason -- runs/reason. --variant is ${VARIANTS.join(', ')}; --train-steps is a whole number.`,
    );
  }
  const { like } = values;
  return {
    path,
    variant,
    trainSteps,
    like,
    seed: Number(values.seed),
    threads: Number(values.threads),
  };
}

async function main(): Promise<void> {
  const { path, variant, trainSteps, like, seed, threads } = settings();
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const model = modelConfig(tokenizer.vocabSize, variant);
  const folder = nodeFolder(path);
  const lock = await takeLock(join(path, 'run.lock'), {
    task: `training in ${path}`,
    remedy: 'Wait for it or end it, or name another folder.',
  });
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
  const device = await createNodeDevice({ numThreads: threads });
  const helpers: Device[] = [];
  while (helpers.length + 1 < laneCount([ROWS], threads)) {
    helpers.push(await createNodeDevice({ numThreads: 1 }));
  }
  try {
    const options = {
      tasks: TASKS,
      first: FIRST_TASK,
      learnt: LEARNT,
      scribe: new Scribe((text) => tokenizer.encode(text)),
      maxLength: LENGTH,
      uniformEvery: UNIFORM_EVERY,
    };
    const course =
      like === undefined
        ? await Course.open(folder, options)
        : await Course.follow(nodeFolder(like), options);
    const result = await train({
      config: trainConfig(model, variant, trainSteps, seed),
      device,
      helpers,
      source: generatedSource({
        documents: (rng, trainStep) => course.document(rng, trainStep),
        rows: ROWS,
        length: LENGTH,
        seed,
      }),
      weights: initializeWeights(model, seed, { matrixStd: 'fanIn', embeddingStd: 1 }),
      folder,
      now: () => performance.now(),
      memoryBytes: () => process.memoryUsage().rss,
      signal: stop.signal,
      evaluate: async (weights, trainStep, config) => {
        const evaluation = await course.evaluate({ device, config, weights }, trainStep);
        console.log(`${trainStep}/${trainSteps} ${course.describe(trainStep, evaluation)}`);
        return evaluation;
      },
    });
    if (!result.finished) return;
    await saveCheckpoint(folder, result.model, result.weights, {
      dtype: 'f16',
      extraFiles: tokenizerFiles(),
    });
    console.log(`Done: looplm chat --model ${path}`);
  } finally {
    for (const one of [device, ...helpers]) await one.dispose();
    await lock.release();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof LoopLMError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
