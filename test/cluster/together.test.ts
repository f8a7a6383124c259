/** The laws of training together, with a store in memory: no server, no network. */
import { describe, expect, it } from 'vitest';
import type { SharedStore } from '../../src/cluster/index.js';
import { initializeWeights, memoryFolder } from '../../src/model/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { OuterSettings, TrainConfig, TrainResult } from '../../src/train/index.js';
import { DEFAULT_OUTER, trainTogether } from '../../src/train/index.js';
import { RUN_CONFIG, STAGED_CONFIG, runStaged, runTiny, sourceOf } from '../train/tiny-run.js';
import { memoryStore } from './memory-store.js';

type Files = Map<string, Uint8Array>;
const OUTER: OuterSettings = { ...DEFAULT_OUTER, everyTrainSteps: 3, silence: 1 };
/** The outer optimizer does nothing: each round ends where its machine has ended. */
const PLAIN: OuterSettings = { ...OUTER, learningRate: 1, momentum: 0 };

interface WorkerOptions {
  readonly config: TrainConfig;
  readonly files?: Files;
  readonly machine?: string;
  readonly signal?: AbortSignal;
  readonly onTrainStep?: (trainStep: number) => void;
  readonly notes?: string[];
}

async function work(store: SharedStore, options: WorkerOptions): Promise<TrainResult> {
  const { config, files = new Map(), machine = 'm', signal, onTrainStep, notes } = options;
  const device = await createInlineDevice({ numThreads: 1 });
  try {
    return await trainTogether({
      config,
      device,
      store,
      machine,
      source: sourceOf,
      weights: initializeWeights(config.model, 1),
      folder: memoryFolder(machine, files),
      now: () => performance.now(),
      memoryBytes: () => 0,
      onNote: (line) => notes?.push(line),
      onProgress: ({ trainStep }) => onTrainStep?.(trainStep),
      ...(signal && { signal }),
    });
  } finally {
    await device.dispose();
  }
}

const bytesOf = ({ weights }: TrainResult) =>
  Buffer.concat([...weights.values()].map((values) => Buffer.from(values.buffer)));

const plain = async (run: typeof runTiny) => run({ folder: memoryFolder('plain', new Map()) });

describe('one machine, outer rate 1, no outer momentum', () => {
  it('ends in the bits of plain training', async () => {
    const config = { ...RUN_CONFIG, outer: PLAIN };
    const together = await work(memoryStore(), { config });
    expect(together.finished).toBe(true);
    expect(bytesOf(together).equals(bytesOf(await plain(runTiny)))).toBe(true);
  });

  it('does so over stages with loops, ramps, more layers and kept moments', async () => {
    // Averages of weights are refused, and have a run of their own elsewhere.
    const stages = STAGED_CONFIG.stages!.map((stage) =>
      stage.optimizer
        ? { ...stage, optimizer: { ...stage.optimizer, averageDecay: undefined } }
        : stage,
    );
    const config = { ...STAGED_CONFIG, stages };
    const alone = await runStaged({ config, folder: memoryFolder('plain', new Map()) });
    const together = await work(memoryStore(), { config: { ...config, outer: PLAIN } });
    expect(bytesOf(together).equals(bytesOf(alone))).toBe(true);
  });
});

describe('two machines', () => {
  const config = { ...RUN_CONFIG, outer: { ...OUTER, startWith: 2 } };

  it('end in the same bits, other than those of one', async () => {
    const store = memoryStore();
    const [a, b] = await Promise.all([
      work(store, { config, machine: 'a' }),
      work(store, { config, machine: 'b' }),
    ]);
    expect(a.finished && b.finished).toBe(true);
    expect(bytesOf(a).equals(bytesOf(b))).toBe(true);
    const one = await work(memoryStore(), { config: { ...config, outer: OUTER } });
    expect(bytesOf(one).equals(bytesOf(a))).toBe(false);
  });
});
