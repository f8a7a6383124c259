/** Tiny training set-ups: a model, documents, and objectives run once for their values and gradients. */
import fc from 'fast-check';
import type { TrainingBatch, TrainingDocument } from '../../src/data/index.js';
import { IGNORED_TARGET } from '../../src/data/index.js';
import { buildGraph } from '../../src/graph/index.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device, HostTensor, Program } from '../../src/runtime/index.js';
import type { AdamWOptions, Objective, ObjectiveOptions } from '../../src/train/index.js';
import {
  batchFeeds,
  countTargets,
  gradientOutputs,
  objectiveGraph,
  objectiveOf,
} from '../../src/train/index.js';
import { SMALL_MODEL, VOCAB_SIZE } from '../engine/random-model.js';

export const TINY: LoopLMConfig = {
  ...SMALL_MODEL.config,
  hiddenSize: 8,
  intermediateSize: 10,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  numLoops: 3,
};

export const ADAMW: AdamWOptions = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
  clipNorm: 1,
};

/** A document of which at least one target counts. */
export const documentArbitrary = (maxLength: number): fc.Arbitrary<TrainingDocument> =>
  fc
    .array(fc.tuple(fc.nat(VOCAB_SIZE - 1), fc.nat(VOCAB_SIZE - 1), fc.boolean()), {
      minLength: 1,
      maxLength,
    })
    .map((positions) => ({
      ids: positions.map(([id]) => id),
      targets: positions.map(([, target, counts], index) =>
        counts || index === positions.length - 1 ? target : IGNORED_TARGET,
      ),
    }));

/** What an objective gives for a batch: metrics, `tokenLoss`, and `grad:NAME` of what it trains. */
export interface ObjectiveRunner {
  run(batch: TrainingBatch): Promise<Readonly<Record<string, readonly number[]>>>;
  free(): Promise<void>;
}

/** Compiles an objective for batches of one size. Means are over the counted targets of a batch. */
export async function objectiveRunner(
  device: Device,
  config: LoopLMConfig,
  weights: ModelWeights,
  objective: Objective,
  size: Pick<ObjectiveOptions, 'rows' | 'length' | 'recompute' | 'chunkRows' | 'trained'>,
): Promise<ObjectiveRunner> {
  const graph = objectiveGraph(config, { ...size, objective });
  const outputs = { ...gradientOutputs(graph), tokenLoss: graph.tokenLoss };
  const program: Program = await device.compile(buildGraph(outputs));
  const params = parameterSpecs(config).map(({ hfName, shape }): [string, HostTensor] => [
    hfName,
    { dtype: 'f32', dims: shape, data: weights.get(hfName)! },
  ]);
  return {
    async run(batch) {
      const feeds: Record<string, HostTensor> = {
        ...Object.fromEntries(params),
        ...batchFeeds(batch, config, 1 / countTargets(batch), {
          extraInputs: objectiveOf(objective).extraInputs,
          chunkRows: size.chunkRows,
        }),
      };
      const used = program.inputNames.map((name) => [name, feeds[name]!] as const);
      const [result] = await device.submit([
        { kind: 'run', program, feeds: Object.fromEntries(used), fetch: Object.keys(outputs) },
      ]);
      return Object.fromEntries(
        Object.entries(result!).map(([name, { data }]) => [name, Array.from(data, Number)]),
      );
    },
    free: () => device.free(program),
  };
}
