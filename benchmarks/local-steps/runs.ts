/** The runs that are compared: one machine, two, and one with twice the batch, on the same text. */
import { memoryStore } from 'looplm/cluster';
import { initializeWeights, memoryFolder } from 'looplm/model';
import { createNodeDevice } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import type { OuterSettings, TrainConfig, TrainTogetherOptions } from 'looplm/train';
import { DEFAULT_OUTER, parseTrainConfig, train, trainTogether } from 'looplm/train';
import { benchmarkConfig } from '../lib/models.js';
import type { Readmes } from '../lib/readmes.js';
import { BYTE_VOCABULARY, heldOutLosses, readReadmes, readmeSource } from '../lib/readmes.js';

/** 1.1M weights; tokens are bytes, and one that ends a document. */
export const MODEL = benchmarkConfig({
  hiddenSize: 160,
  intermediateSize: 480,
  numHiddenLayers: 3,
  numAttentionHeads: 5,
  vocabSize: BYTE_VOCABULARY,
});
const [ROWS, LENGTH] = [4, 64];
export const TOKENS_PER_STEP = ROWS * LENGTH;
/** Of few steps on little: high. */
const LEARNING_RATE = 0.003;
const HELD_OUT_TOKENS = 2048;

interface Variant {
  readonly machines: number;
  readonly accumulate?: number;
  /** How several exchange. */
  readonly outer?: Partial<OuterSettings>;
}

export const VARIANTS = {
  'one machine': { machines: 1 },
  'two machines, the mean alone': { machines: 2, outer: { learningRate: 1, momentum: 0 } },
  'two machines, the mean alone, in 8 bits': {
    machines: 2,
    outer: { learningRate: 1, momentum: 0, deltas: 'int8' },
  },
  'two machines, rate 0.7, momentum 0.9': { machines: 2, outer: {} },
  'one machine, twice the batch': { machines: 1, accumulate: 2 },
} as const satisfies Readonly<Record<string, Variant>>;
export type VariantName = keyof typeof VARIANTS;

/** The readmes of the installed packages, as bytes. */
export const readText = (): Promise<Readmes> => readReadmes(LENGTH, HELD_OUT_TOKENS);

export interface RunFigures {
  /** Held-out loss at full depth, in nats, by train step. */
  readonly curve: readonly (readonly [trainStep: number, loss: number])[];
  /** Bytes of a delta; 0 where there is none. */
  readonly deltaBytes: number;
  readonly seconds: number;
}

export interface RunSize {
  readonly trainSteps: number;
  readonly everyTrainSteps: number;
}

/** Trains a variant; a thread for each machine. */
export async function playRun(
  name: VariantName,
  seed: number,
  text: Readmes,
  { trainSteps, everyTrainSteps }: RunSize,
): Promise<RunFigures> {
  const { machines, accumulate = 1, outer: own }: Variant = VARIANTS[name];
  const outer = own && {
    ...DEFAULT_OUTER,
    everyTrainSteps,
    startWith: machines,
    silence: 3600,
    ...own,
  };
  const settings = { model: MODEL, seed, trainSteps, accumulate, rows: ROWS, length: LENGTH };
  const rates = { learningRate: LEARNING_RATE };
  const intervals = { logEvery: 100, snapshotEvery: trainSteps, evaluateEvery: everyTrainSteps };
  const config = parseTrainConfig(
    { ...settings, ...rates, ...intervals, data: { text: text.sha256 }, ...(outer && { outer }) },
    'the run',
  );
  const store = memoryStore();
  let deltaBytes = 0;
  const put = store.putObject;
  store.putObject = (key, bytes) => {
    if (key.startsWith('delta')) deltaBytes = bytes.length;
    return put(key, bytes);
  };
  const curve: [number, number][] = [];
  const start = performance.now();
  await Promise.all(
    Array.from({ length: machines }, (_, machine) =>
      onDevice(async (device) => {
        const options = optionsOf(config, device, text, machine === 0 ? curve : undefined);
        if (!outer) return void (await train(options));
        const others = { store, machine: `machine-${machine}`, onNote: () => {} };
        await trainTogether({ ...options, ...others });
      }),
    ),
  );
  return { curve, deltaBytes, seconds: (performance.now() - start) / 1000 };
}

async function onDevice(task: (device: Device) => Promise<void>): Promise<void> {
  await using device = await createNodeDevice({ numThreads: 1 });
  await task(device);
}

function optionsOf(
  config: TrainConfig,
  device: Device,
  text: Readmes,
  curve: [number, number][] | undefined,
): Omit<TrainTogetherOptions, 'store' | 'machine' | 'onNote'> {
  return {
    config,
    device,
    source: readmeSource(text, { rows: ROWS, length: LENGTH }, config.seed),
    weights: initializeWeights(MODEL, config.seed, { matrixStd: 'fanIn', embeddingStd: 1 }),
    folder: memoryFolder('run', new Map()),
    now: () => performance.now(),
    memoryBytes: () => 0,
    ...(curve && {
      evaluate: async (weights, trainStep, model) => {
        const loss = (await heldOutLosses(text, { device, config: model, weights })).at(-1)!;
        curve.push([trainStep, loss]);
        return { loss };
      },
    }),
  };
}
