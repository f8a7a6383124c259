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
import { newestName, syllabusAt, uniformName } from './curriculum.js';
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
  // measured after every second train step, and where a stage ends
  expect(lines.map((line) => line.replace(/ [\d.]+(, all [\d.]+)?(?=;|$)/g, ''))).toEqual([
    'clocks 1/6',
    'clocks 2/6',
    'clocks 3/6; cups 1/5',
    'clocks 4/6; cups 2/5',
    'clocks 5/6; cups 3/5',
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
});

test('a task that is right in its newest lesson and wrong over all difficulties gets more than one right in both', () => {
  const record = (trainStep: number, cupsByDepth: readonly number[]) => ({
    trainStep,
    evaluation: {
      [newestName(clocks.name)]: 1,
      [uniformName(clocks.name)]: [0, 1],
      [newestName(cups.name)]: 1,
      [uniformName(cups.name)]: cupsByDepth,
    },
  });
  const newestAlone = [2, 3, 4, 5].map((trainStep) => ({
    trainStep,
    evaluation: { [newestName(clocks.name)]: 1, [newestName(cups.name)]: 1 },
  }));
  const options = { tasks: [clocks, cups], learnt: 0, mixedFrom: 0 };
  /** Share of cups for what it weighs, over that of clocks. */
  const need = (records: Parameters<typeof syllabusAt>[1]) => {
    const { weights } = syllabusAt(options, records, 6);
    return weights[cups.name]! / cups.weight / (weights[clocks.name]! / clocks.weight);
  };
  expect(need([record(1, [0, 1])])).toBeCloseTo(1);
  // Full depth counts, and the latest look, however long ago and only if it was before the train step.
  expect(need([record(1, [1, 0.5])])).toBeGreaterThan(2);
  expect(need([record(1, [1, 0.5]), ...newestAlone])).toBeGreaterThan(2);
  expect(need([record(1, [1, 0.5]), record(2, [0, 1])])).toBeCloseTo(1);
  expect(need([record(1, [0, 1]), record(6, [1, 0.5])])).toBeCloseTo(1);
});

test('a task that is wrong in its newest lesson gets more, whatever it is over all difficulties', () => {
  const evaluation = {
    [newestName(clocks.name)]: 1,
    [newestName(cups.name)]: 0.5,
    [uniformName(cups.name)]: [1, 1],
  };
  const options = { tasks: [clocks, cups], learnt: 0, mixedFrom: 0 };
  const { weights } = syllabusAt(options, [{ trainStep: 1, evaluation }], 2);
  expect(weights[cups.name]! / cups.weight).toBeGreaterThan(weights[clocks.name]! / clocks.weight);
});
