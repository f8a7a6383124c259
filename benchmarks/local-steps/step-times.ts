/** What a train step takes by number of loops, and how many bytes its deltas have. */
import { generatorFor } from 'looplm/data';
import { initializeWeights, parameterSpecs } from 'looplm/model';
import { createNodeDevice } from 'looplm/node';
import { TrainState } from 'looplm/train';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { alternate } from '../lib/harness.js';
import { benchmarkConfig } from '../lib/models.js';

const ROUNDS = 5;
const [ROWS, LENGTH] = [8, 256];
const LOOPS = [1, 2, 4, 8] as const;
/** 5.3M weights. */
const MODEL = benchmarkConfig({
  hiddenSize: 256,
  intermediateSize: 704,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  vocabSize: 4096,
});

/** Milliseconds of a step of 2048 tokens, with all cores: the least of several rounds. */
export async function stepTimes(): Promise<object> {
  await using device = await createNodeDevice({});
  const rng = generatorFor(1);
  const draw = () =>
    Int32Array.from({ length: ROWS * LENGTH }, () => uniformInt(rng, 0, MODEL.vocabSize - 1));
  const batch = {
    rows: ROWS,
    length: LENGTH,
    ids: draw(),
    targets: draw(),
    segments: new Int32Array(ROWS * LENGTH).fill(1),
    positions: Int32Array.from({ length: ROWS * LENGTH }, (_, index) => index % LENGTH),
  };
  const states: TrainState[] = [];
  for (const numLoops of LOOPS) {
    const config = { ...MODEL, numLoops };
    const state = await TrainState.create({
      device,
      config,
      rows: ROWS,
      length: LENGTH,
      objective: { kind: 'stage-1', beta: 0.1 },
      optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
      recompute: 'none',
      weights: initializeWeights(config, 1),
    });
    await state.update([batch], 0, 1e-4);
    states.push(state);
  }
  const variants = LOOPS.map((numLoops, index) => ({
    name: `${numLoops}`,
    async measure() {
      const start = performance.now();
      await states[index]!.update([batch], 1, 1e-4);
      return performance.now() - start;
    },
  }));
  const rounds = await alternate(variants, ROUNDS);
  const elements = ({ shape }: { readonly shape: readonly number[] }) =>
    shape.reduce((product, length) => product * length, 1);
  return {
    stepWeights: parameterSpecs(MODEL).reduce((sum, spec) => sum + elements(spec), 0),
    stepMilliseconds: Object.fromEntries(
      LOOPS.map((numLoops) => [numLoops, Math.min(...rounds[`${numLoops}`]!)]),
    ),
  };
}
