/** A run whose lessons open by what it has learnt is the same run however often it is stopped. */
import { expect, test } from 'vitest';
import type { BatchSource } from 'looplm/data';
import { generatedSource, generatorFor } from 'looplm/data';
import { initializeWeights, memoryFolder } from 'looplm/model';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { train } from 'looplm/train';
import { modelConfig, trainConfig } from './configs.js';
import { Course } from './course.js';
import { Scribe } from './documents.js';
import { clocks } from './tasks/calendar.js';
import { cups } from './tasks/cups.js';
import { tokenizerJson } from './tokenizer.js';

const TRAIN_STEPS = 8;
const LENGTH = 160;

const tokenizer = Tokenizer.fromJson(tokenizerJson());
/** Opens a lesson at every measurement. */
const OPTIONS = {
  tasks: [clocks, cups],
  first: { task: clocks.name, lesson: 3, latest: 100 },
  learnt: 0,
  mixedFrom: 4,
  scribe: new Scribe((text) => tokenizer.encode(text)),
  maxLength: LENGTH,
  uniformEvery: 4,
};

/** Trains, or stops after some train steps; returns what was measured. */
async function run(files: Map<string, Uint8Array>, stopAfter?: number): Promise<string[]> {
  const folder = memoryFolder('run', files);
  const course = await Course.open(folder, OPTIONS);
  const lines: string[] = [];
  const drawn = generatedSource({
    documents: (rng, trainStep) => course.document(rng, trainStep),
    rows: 2,
    length: LENGTH,
    seed: 1,
  });
  const stop = new AbortController();
  const source: BatchSource = {
    ...drawn,
    batchAt(trainStep, microBatch) {
      if (trainStep === stopAfter) stop.abort();
      return drawn.batchAt(trainStep, microBatch);
    },
  };
  await using device = await createInlineDevice({ numThreads: 1 });
  const model = {
    ...modelConfig(tokenizer.vocabSize, 'looped'),
    hiddenSize: 16,
    intermediateSize: 16,
    headDim: 4,
    numHiddenLayers: 1,
    numLoops: 2,
  };
  const steps = { evaluateEvery: 2, snapshotEvery: 3, logEvery: 1 };
  await train({
    config: { ...trainConfig(model, 'looped', TRAIN_STEPS, 1), ...steps },
    device,
    source,
    weights: initializeWeights(model, 1, {}),
    folder,
    now: () => 0,
    memoryBytes: () => 0,
    signal: stop.signal,
    evaluate: async (weights, trainStep, config) => {
      const evaluation = await course.evaluate({ device, config, weights }, trainStep);
      lines.push(course.describe(trainStep, evaluation));
      return evaluation;
    },
  });
  return lines;
}

test('stopped at a measurement, before or after one, and resumed it ends in the same files', async () => {
  const whole = new Map<string, Uint8Array>();
  const lines = await run(whole);
  expect(lines.map((line) => line.replace(/ [\d.]+(, all [\d.]+)?(?=;|$)/g, ''))).toEqual([
    'clocks 1/6',
    'clocks 2/6',
    'clocks 3/6; cups 1/6',
    'clocks 4/6; cups 2/6',
  ]);
  for (const stops of [[4], [3, 6]]) {
    const files = new Map<string, Uint8Array>();
    for (const stop of stops) await run(files, stop);
    await run(files);
    expect(files).toEqual(whole);
  }
  const [own, other] = [
    await Course.open(memoryFolder('run', whole), OPTIONS),
    await Course.follow(memoryFolder('run', whole), OPTIONS),
  ];
  const drawn = (course: Course) =>
    Array.from({ length: TRAIN_STEPS }, (_, step) => course.document(generatorFor(1, step), step));
  expect(drawn(other)).toEqual(drawn(own));
}, 60_000);
