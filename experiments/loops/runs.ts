/** The runs that are compared: what may be said of loops and layers in training, at equal tokens. */
import type { RowSize } from '../../benchmarks/lib/readmes.js';
import {
  BYTE_VOCABULARY,
  heldOutLosses,
  readReadmes,
  readmeSource,
} from '../../benchmarks/lib/readmes.js';
import { benchmarkConfig } from '../../benchmarks/lib/models.js';
import { initializeWeights, memoryFolder } from 'looplm/model';
import { createInlineDevice } from 'looplm/runtime';
import type { MetricRecord } from 'looplm/train';
import { parseTrainConfig, train } from 'looplm/train';

const NUM_LAYERS = 2;
const NUM_LOOPS = 4;
/** Depths whose loss is told: as many as the deepest run trains. */
export const DEPTHS = 6;
const SIZE: RowSize = { rows: 8, length: 128 };
export const TOKENS_PER_STEP = SIZE.rows * SIZE.length;
const HELD_OUT_TOKENS = 16_384;
/** Of few steps on little: high. */
const LEARNING_RATE = 0.003;
const WARMUP = 0.05;

interface Half {
  readonly loops: number | { readonly from: number; readonly to: number };
  readonly upcycle?: { readonly numHiddenLayers: number; readonly order: string };
}

interface Variant {
  /** What differs in the first half of the run and in the second. */
  readonly halves: readonly [Half, Half];
  readonly numHiddenLayers?: number;
  readonly backpropLoops?: number;
}

const whole = (half: Half): Variant['halves'] => [half, half];
const FOUR: Half = { loops: NUM_LOOPS };
const copied = (order: string): Variant => ({
  halves: [FOUR, { ...FOUR, upcycle: { numHiddenLayers: 2 * NUM_LAYERS, order } }],
});

/** The first one is what the others are compared with. */
export const VARIANTS = {
  'four loops': { halves: whole(FOUR) },
  'two loops, then four': { halves: [{ loops: 2 }, FOUR] },
  'six loops, then four': { halves: [{ loops: DEPTHS }, FOUR] },
  'two to six loops, drawn': { halves: whole({ loops: { from: 2, to: DEPTHS } }) },
  'gradients through two loops': { halves: whole(FOUR), backpropLoops: 2 },
  'gradients through one loop': { halves: whole(FOUR), backpropLoops: 1 },
  'twice the layers': { halves: whole(FOUR), numHiddenLayers: 2 * NUM_LAYERS },
  'twice the layers at half-way, interleaved': copied('interleaved'),
  'twice the layers at half-way, stacked': copied('stacked'),
} as const satisfies Readonly<Record<string, Variant>>;
export type VariantName = keyof typeof VARIANTS;

export interface Job {
  readonly name: VariantName;
  readonly seed: number;
  readonly trainSteps: number;
}

export interface RunFigures {
  /** Held-out loss in nats per byte after 1 to `DEPTHS` loops, whatever was trained. */
  readonly lossByDepth: readonly number[];
  /** Of the processor, for the updates alone. */
  readonly seconds: number;
  /** Largest resident size of the process up to the end of training. */
  readonly peakBytes: number;
}

/**
 * Trains a variant by one thread. All have the same course of the learning rate: even in the first
 * half, falling to a tenth in the second.
 */
export async function playRun({ name, seed, trainSteps }: Job): Promise<RunFigures> {
  const { halves, numHiddenLayers = NUM_LAYERS, backpropLoops }: Variant = VARIANTS[name];
  const model = benchmarkConfig({
    hiddenSize: 96,
    intermediateSize: 256,
    numHiddenLayers,
    numAttentionHeads: 3,
    vocabSize: BYTE_VOCABULARY,
  });
  const text = await readReadmes(SIZE.length, HELD_OUT_TOKENS);
  const warmupTrainSteps = Math.round(WARMUP * trainSteps);
  const stages = halves.map((half, index) => {
    // a fresh optimizer warms up, in the middle of the run as well
    const isFresh = index === 0 || half.upcycle !== undefined;
    const warmup = { warmupTrainSteps: isFresh ? warmupTrainSteps : 0 };
    return {
      ...half,
      name: `half ${index + 1}`,
      trainSteps: Math.round(trainSteps / 2),
      schedule:
        index === 0
          ? { kind: 'constant', ...warmup }
          : { kind: 'cosine', finalFraction: 0.1, ...warmup },
      optimizerState: isFresh ? 'fresh' : 'kept',
    };
  });
  const config = parseTrainConfig(
    {
      model,
      seed,
      stages,
      learningRate: LEARNING_RATE,
      ...SIZE,
      ...(backpropLoops !== undefined && { backpropLoops }),
      data: { text: text.sha256 },
      logEvery: 1,
      snapshotEvery: trainSteps,
      evaluateEvery: trainSteps,
    },
    'the run',
  );
  const clock = new UpdateClock();
  const branchNorm = 1 / Math.sqrt(2 * numHiddenLayers * NUM_LOOPS);
  await using device = await createInlineDevice({ numThreads: 1 });
  const result = await train({
    config,
    device,
    source: readmeSource(text, SIZE, seed),
    weights: initializeWeights(model, seed, { matrixStd: 'fanIn', embeddingStd: 1, branchNorm }),
    folder: memoryFolder('run', new Map()),
    now: () => performance.now(),
    memoryBytes: () => 0,
    onProgress: (record) => clock.tick(record),
  });
  const peakBytes = 1024 * process.resourceUsage().maxRSS;
  const deep = { ...result.model, numLoops: DEPTHS };
  const lossByDepth = await heldOutLosses(text, { device, config: deep, weights: result.weights });
  return { lossByDepth, seconds: clock.seconds(), peakBytes };
}

/**
 * Time of the processor from update to update, within a stage: without what is made ready before it, and
 * whatever else the machine does.
 */
class UpdateClock {
  #microseconds = 0;
  #last: { readonly stage: string | undefined; readonly usage: NodeJS.CpuUsage } | undefined;

  tick({ stage }: MetricRecord): void {
    if (this.#last?.stage === stage) {
      const { user, system } = process.cpuUsage(this.#last!.usage);
      this.#microseconds += user + system;
    }
    this.#last = { stage, usage: process.cpuUsage() };
  }

  seconds(): number {
    return this.#microseconds / 1e6;
  }
}
