/**
 * The law that all else rests on: replayed in the trainer, every drawn token has, at every loop that ran,
 * the log-probability that the rollout recorded, and so has every exit.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExitPolicy, RolloutRecord } from '../../src/engine/index.js';
import {
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  sampledExit,
  withDepthBounds,
} from '../../src/engine/index.js';
import { ConfigError } from '../../src/errors.js';
import type { PolicySettings, ReplayedKvPolicy, ScoredRollout } from '../../src/rl/index.js';
import {
  REPLAYED_KV_POLICIES,
  agreementOf,
  policyObjective,
  replayBatches,
  replayedExits,
} from '../../src/rl/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { TokenScorer, TrainState } from '../../src/train/index.js';
import type { RandomModel } from '../engine/random-model.js';
import {
  SMALL_MODEL,
  makeModel,
  modelDraw,
  promptArbitrary,
  randomWeights,
} from '../engine/random-model.js';
import { uploadWeights } from '../engine/resident.js';
import { ADAMW } from '../train/support.js';
import type { RolloutDraw } from './support.js';
import { rolloutsOf, scored } from './support.js';

const [ROWS, LENGTH] = [2, 32];
const MAX_DIFFERENCE = 1e-4;
const settings: PolicySettings = {
  credit: { kind: 'exit' },
  ratio: { kind: 'truncate', level: 'token', cap: 5 },
  klCoefficient: 0,
  exitEntropy: 0,
};
const OPTIONS = { settings, rows: ROWS, length: LENGTH, padId: 0 };

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

const policyArbitrary: fc.Arbitrary<ExitPolicy> = fc.oneof(
  fc.constant(sampledExit()),
  fc.constant(fullDepth()),
  fc.constant(fixedDepth(1)),
  fc.double({ min: 0.05, max: 0.95, noNaN: true }).map((q) => cdfThreshold(q)),
  fc.double({ min: 0.1, max: 0.9, noNaN: true }).map((p) => confidence(p)),
  fc.constant(withDepthBounds(sampledExit(), { minDepth: 1, maxDepth: 1 })),
);

const zeros = (records: readonly RolloutRecord[]) => records.map(() => 0);

type ReplayedDraw = RolloutDraw & { readonly kvPolicy: ReplayedKvPolicy };

/** Draws rollouts, replays them and says how far the two are apart. */
async function agreementOfModel(
  { config, weights }: Pick<RandomModel, 'config' | 'weights'>,
  draws: readonly ReplayedDraw[],
) {
  const resident = await uploadWeights(device, config, weights);
  const size = { rows: ROWS, length: LENGTH };
  const scorers = {
    'per-loop': await TokenScorer.create(config, resident, size, replayedExits('per-loop')),
    'last-exited': await TokenScorer.create(config, resident, size, replayedExits('last-exited')),
  };
  const found = [];
  for (const draw of draws) {
    const { kvPolicy } = draw;
    const records = await rolloutsOf(device, config, weights, draw);
    const { batches, rollouts } = replayBatches(scored(records, zeros(records)), {
      ...OPTIONS,
      kvPolicy,
    });
    const outputs = [];
    for (const batch of batches) outputs.push(await scorers[kvPolicy].score(batch));
    const depths = records.flatMap(({ exitDepths }) => exitDepths);
    found.push({ ...agreementOf(rollouts, outputs, settings), kvPolicy, depths });
  }
  for (const scorer of Object.values(scorers)) await scorer.dispose();
  for (const buffer of resident.buffers.values()) await device.free(buffer);
  return found;
}

/** A trainer of the small model. */
const trainerOf = (weights: RandomModel['weights']) =>
  TrainState.create({
    device,
    config: SMALL_MODEL.config,
    rows: ROWS,
    length: LENGTH,
    objective: policyObjective(settings, SMALL_MODEL.config.numLoops),
    optimizer: ADAMW,
    recompute: 'none',
    weights,
    tellsTokens: true,
  });

/** Prompts with one to four answers each. */
const groupsArbitrary = fc
  .array(fc.tuple(promptArbitrary(12), fc.integer({ min: 1, max: 4 })), {
    minLength: 1,
    maxLength: 4,
  })
  .map((groups) =>
    groups.flatMap(([prompt, count]) => Array.from({ length: count }, () => prompt)),
  );

const drawArbitrary: fc.Arbitrary<ReplayedDraw> = fc.record({
  prompts: groupsArbitrary,
  exitPolicy: policyArbitrary,
  kvPolicy: fc.constantFrom(...REPLAYED_KV_POLICIES),
  seed: fc.nat(1000),
});

describe('the replay of rollouts', () => {
  it('has their log-probabilities, under random policies', async () => {
    const { config, seed } = SMALL_MODEL;
    const draws = fc.sample(drawArbitrary, { numRuns: 30, seed: 11 });
    const found = await agreementOfModel({ config, weights: randomWeights(config, seed) }, draws);
    for (const { maxTokenDifference, maxExitDifference } of found) {
      expect(maxTokenDifference).toBeLessThan(MAX_DIFFERENCE);
      expect(maxExitDifference).toBeLessThan(MAX_DIFFERENCE);
    }
    for (const kvPolicy of REPLAYED_KV_POLICIES) {
      const drawn = found.filter((one) => one.kvPolicy === kvPolicy);
      expect(new Set(drawn.flatMap(({ depths }) => depths))).toEqual(new Set([1, 2, 3, 4]));
    }
  });

  it('has them of models of any shape, up to what random weights make of rounding', async () => {
    await fc.assert(
      fc.asyncProperty(modelDraw, drawArbitrary, async (draw, rollouts) => {
        const [found] = await agreementOfModel(await makeModel(draw), [rollouts]);
        expect(found!.maxTokenDifference).toBeLessThan(5 * MAX_DIFFERENCE);
        expect(found!.maxExitDifference).toBeLessThan(5 * MAX_DIFFERENCE);
      }),
      { numRuns: 8, seed: 11 },
    );
  });

  it('under another KV policy is another computation', async () => {
    const { config, seed } = SMALL_MODEL;
    const weights = randomWeights(config, seed);
    const records = await rolloutsOf(device, config, weights, {
      prompts: [[1, 2, 3], [4, 5], [6]],
      exitPolicy: sampledExit(),
      kvPolicy: 'last-exited',
    });
    const asIfPerLoop = records.map((record) => ({ ...record, kvPolicy: 'per-loop' as const }));
    const resident = await uploadWeights(device, config, weights);
    const scorer = await TokenScorer.create(config, resident, { rows: ROWS, length: LENGTH });
    const { batches, rollouts } = replayBatches(scored(asIfPerLoop, zeros(records)), OPTIONS);
    const outputs = [];
    for (const batch of batches) outputs.push(await scorer.score(batch));
    expect(agreementOf(rollouts, outputs, settings).maxTokenDifference).toBeGreaterThan(0.01);
    await scorer.dispose();
    for (const buffer of resident.buffers.values()) await device.free(buffer);
  });

  it('is told by an update, and notices rollouts of other weights or other depths', async () => {
    const { config } = SMALL_MODEL;
    const weights = randomWeights(config, 3);
    const state = await trainerOf(weights);
    const prompts = [
      [1, 2, 3],
      [4, 5],
    ];
    const draw = (from: typeof weights, exitPolicy: ExitPolicy) =>
      rolloutsOf(device, config, from, { prompts, exitPolicy });
    const agreement = async (records: readonly RolloutRecord[]) => {
      const { batches, rollouts } = replayBatches(scored(records, zeros(records)), OPTIONS);
      const { tokens } = await state.update(batches, 0, 0);
      return agreementOf(rollouts, tokens!, settings);
    };
    const own = await draw(weights, sampledExit());
    const exact = await agreement(own);
    expect(exact.maxTokenDifference).toBeLessThan(MAX_DIFFERENCE);
    expect(exact.maxExitDifference).toBeLessThan(MAX_DIFFERENCE);
    expect(Math.abs(exact.divergence)).toBeLessThan(MAX_DIFFERENCE);
    const other = await agreement(await draw(randomWeights(config, 4), sampledExit()));
    expect(other.maxTokenDifference).toBeGreaterThan(0.1);
    expect(other.maxExitDifference).toBeGreaterThan(0.1);
    const moved = own.map((record) => ({ ...record, exitDepths: record.exitDepths.map(() => 1) }));
    expect(Math.abs((await agreement(moved)).divergence)).toBeGreaterThan(0.01);
    await state.dispose();
  });

  it('takes as many batches as it needs, each rollout whole in one', async () => {
    const { config } = SMALL_MODEL;
    const prompts = Array.from({ length: 9 }, (_, index) => [1 + index, 2, 3]);
    const records = await rolloutsOf(device, config, randomWeights(config, 3), {
      prompts,
      exitPolicy: sampledExit(),
    });
    const advantages = records.map((_, index) => index + 1);
    const { batches, rollouts } = replayBatches(scored(records, advantages), OPTIONS);
    expect(batches.length).toBeGreaterThan(1);
    rollouts.forEach(({ record, batch, offset }, index) => {
      const { ids, targets, extra } = batches[batch]!;
      const { promptIds, tokenIds, exitDepths } = record;
      const start = offset - promptIds.length + 1;
      const end = offset + tokenIds.length;
      expect(Array.from(ids.slice(start, end))).toEqual([...promptIds, ...tokenIds.slice(0, -1)]);
      expect(Array.from(targets.slice(offset, end))).toEqual(tokenIds);
      expect(Array.from(extra!['exitDepth']!.slice(offset, end))).toEqual(exitDepths);
      expect(new Set(extra!['advantage']!.slice(offset, end))).toEqual(new Set([index + 1]));
      expect(targets.slice(start, offset).every((target) => target < 0)).toBe(true);
      expect(
        Array.from(extra!['exitDepth']!.slice(start, offset)).every((depth) => depth === 0),
      ).toBe(true);
    });
  });

  it('lets the answers to one prompt share it, which changes no probability and no gradient', async () => {
    const { config } = SMALL_MODEL;
    const weights = randomWeights(config, 3);
    const [a, b] = [
      [1, 2, 3, 4, 5, 6, 7],
      [4, 5],
    ];
    const records = await rolloutsOf(device, config, weights, {
      prompts: [a, a, a, a, a, b, b],
      exitPolicy: sampledExit(),
    });
    const rollouts = scored(
      records,
      records.map((_, index) => index - 3),
    );
    // Taken in turn no two neighbours answer the same prompt.
    const apart = [0, 5, 1, 6].map((index) => rollouts[index]!);
    const together = [0, 1, 5, 6].map((index) => rollouts[index]!);
    const moved = async (some: readonly ScoredRollout[]) => {
      const state = await trainerOf(weights);
      const { batches } = replayBatches(some, OPTIONS);
      const { loss, gradNorm } = await state.update(batches, 0, 1e-3);
      await state.dispose();
      const used = batches.reduce(
        (sum, { segments }) => sum + segments.filter((n) => n > 0).length,
        0,
      );
      return { loss, gradNorm, used };
    };
    const [one, other] = [await moved(together), await moved(apart)];
    expect(one.used).toBe(other.used - (a.length - 1) - (b.length - 1));
    expect(one.loss).toBeCloseTo(other.loss, 5);
    expect(one.gradNorm / other.gradNorm).toBeCloseTo(1, 4);
    // Five answers are too many for one row; those that do not fit share the prompt in another.
    const { batches, rollouts: all } = replayBatches(rollouts, OPTIONS);
    expect(all.map(({ record }) => record)).toEqual(records);
    const stems = batches.flatMap(({ positions, segments }) =>
      [...positions.keys()].filter((index) => segments[index]! > 0 && positions[index] === 0),
    );
    expect(stems.length).toBeGreaterThan(2);
    expect(stems.length).toBeLessThan(records.length);
  });

  it('refuses what it could not replay, and says what to draw instead', async () => {
    const { config } = SMALL_MODEL;
    const [record] = await rolloutsOf(device, config, randomWeights(config, 3), {
      prompts: [[1, 2]],
      exitPolicy: cdfThreshold(0.5),
    });
    const refused = (
      changes: Partial<RolloutRecord>,
      credit: PolicySettings['credit'] = { kind: 'exit' },
    ) => {
      const rollouts = scored([{ ...record!, ...changes }], [1]);
      return () => replayBatches(rollouts, { ...OPTIONS, settings: { credit } });
    };
    expect(refused({})).not.toThrow();
    expect(refused({ kvPolicy: 'shared' })).toThrow(/KV policy shared.*per-loop and last-exited/);
    expect(refused({ kvPolicy: 'last-exited' })).toThrow(
      /last-exited, and is replayed with per-loop/,
    );
    expect(refused({ prefill: 'adaptive' })).toThrow(/prefill adaptive.*prefill full/);
    const { sampling } = record!;
    expect(refused({ sampling: { ...sampling, temperature: 0.7 } })).toThrow(
      /temperature 0\.7.*temperature 1/,
    );
    expect(refused({ sampling: { ...sampling, topK: 3 } })).toThrow(/topK/);
    const pair: PolicySettings['credit'] = { kind: 'depth-action', exitWeight: 1 };
    expect(refused({}, pair)).toThrow(/exit policy "cdf:0\.5".*"sampled"/);
    expect(refused({ exitPolicy: 'sampled' }, pair)).not.toThrow();
    const long = { promptIds: Array.from({ length: LENGTH }, () => 1) };
    expect(refused(long)).toThrow(ConfigError);
    expect(refused(long)).toThrow(/37 tokens to replay, and rows have 32/);
  });
});
