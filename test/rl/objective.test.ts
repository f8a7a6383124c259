/**
 * Policy gradients: known objectives come out as special cases, gradients are those of the published
 * surrogates, and corrections touch what they should.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import type { RolloutRecord } from '../../src/engine/index.js';
import { fullDepth, sampledExit } from '../../src/engine/index.js';
import { ConfigError } from '../../src/errors.js';
import type { Tensor } from '../../src/graph/index.js';
import { add, equal, exp, intScalar, less, mul, neg, sub, where } from '../../src/graph/index.js';
import type { ModelWeights } from '../../src/model/index.js';
import type { PolicySettings, ReplayedKvPolicy } from '../../src/rl/index.js';
import { policyObjective, replayBatches } from '../../src/rl/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { LossParts, Objective, ObjectiveDefinition } from '../../src/train/index.js';
import { randomWeights } from '../engine/random-model.js';
import { expectClose } from '../parity/fixtures.js';
import { TINY, objectiveRunner } from '../train/support.js';
import { rolloutsOf, scored } from './support.js';

const [ROWS, LENGTH] = [2, 24];
const { numLoops } = TINY;
const PROMPTS = [[3, 1, 4], [1, 5], [9, 2, 6, 5], [3]];
const ADVANTAGES = [1.5, -0.75, 0.5, -1.25];
/** What drew the rollouts, and what is trained: near enough that ratios spread around 1. */
const behavior = randomWeights(TINY, 5);
const weights: ModelWeights = new Map(
  [...behavior].map(([name, values]) => {
    const other = randomWeights(TINY, 6).get(name)!;
    return [name, values.map((value, index) => 0.9 * value + 0.1 * other[index]!)];
  }),
);

const PLAIN: PolicySettings = {
  credit: { kind: 'exit' },
  ratio: { kind: 'none' },
  klCoefficient: 0,
  exitEntropy: 0,
};

let device: Device;
let records: readonly RolloutRecord[];
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  records = await rolloutsOf(device, TINY, behavior, {
    prompts: PROMPTS,
    exitPolicy: sampledExit(),
  });
});
afterAll(() => device.dispose());

const batchOf = (
  settings: PolicySettings,
  advantages: readonly number[] = ADVANTAGES,
  rest: {
    loopWeights?: readonly number[];
    records?: readonly RolloutRecord[];
    kvPolicy?: ReplayedKvPolicy;
  } = {},
): TrainingBatch => {
  const { batches } = replayBatches(scored(rest.records ?? records, advantages), {
    settings,
    rows: ROWS,
    length: LENGTH,
    padId: 0,
    ...rest,
  });
  expect(batches).toHaveLength(1);
  return batches[0]!;
};

async function outcomeOf(objective: Objective, batch: TrainingBatch, of: ModelWeights = weights) {
  const size = { rows: ROWS, length: LENGTH, recompute: 'none' as const };
  const runner = await objectiveRunner(device, TINY, of, objective, size);
  try {
    return await runner.run(batch);
  } finally {
    await runner.free();
  }
}

const run = (
  settings: PolicySettings,
  batch = batchOf(settings),
  of?: ModelWeights,
  kvPolicy?: ReplayedKvPolicy,
) => outcomeOf(policyObjective(settings, numLoops, kvPolicy), batch, of);

/** Finite difference of the loss by one weight. */
async function slopeOf(
  settings: PolicySettings,
  batch: TrainingBatch,
  name: string,
  index: number,
  kvPolicy?: ReplayedKvPolicy,
): Promise<number> {
  const moved = async (by: number) => {
    const values = weights.get(name)!.slice();
    values[index]! += by;
    const outcome = await run(settings, batch, new Map([...weights, [name, values]]), kvPolicy);
    return outcome['loss']![0]!;
  };
  const step = 1e-2;
  return ((await moved(step)) - (await moved(-step))) / (2 * step);
}

type Outcome = Awaited<ReturnType<typeof outcomeOf>>;

function expectSameGradients(actual: Outcome, expected: Outcome, tolerance = 2e-6): void {
  const names = Object.keys(expected).filter((name) => name.startsWith('grad:'));
  expect(names.length).toBeGreaterThan(5);
  for (const name of names) expectClose(actual[name]!, expected[name]!, tolerance, name);
}

const ones = PROMPTS.map(() => 1);
const atExit = ({ extra }: LossParts, values: readonly Tensor[]) =>
  values
    .map((value, index) => where(equal(extra('exitDepth'), intScalar(index + 1)), value, 0))
    .reduce((a, b) => add(a, b));

/** The objective of settings, whose loss reads some of the inputs only. */
const reading = (settings: PolicySettings, names: readonly string[]) => {
  const objective = policyObjective(settings, numLoops);
  const extraInputs = objective.extraInputs.filter(({ name }) => names.includes(name));
  return { ...objective, extraInputs };
};

describe('with advantages of one and no ratio', () => {
  it('credit to the last loop is cross-entropy at full depth', async () => {
    const settings: PolicySettings = { ...PLAIN, credit: { kind: 'last-loop' } };
    const batch = batchOf(settings, ones);
    const [actual, expected] = [
      await run(settings, batch),
      await outcomeOf({ kind: 'last-loop' }, batch),
    ];
    expectClose(actual['loss']!, expected['loss']!, 1e-6, 'loss');
    expectSameGradients(actual, expected);
  });

  it('credit to loops by the exit distribution is stage I without entropy', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'loops', weights: 'exit-pdf', alpha: 1 },
    };
    const batch = batchOf(settings, ones);
    const expected = await outcomeOf({ kind: 'stage-1', beta: 0 }, batch);
    expectSameGradients(await run(settings, batch), expected);
  });

  it('entropy of exits is that of stage I', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'loops', weights: 'exit-pdf', alpha: 1 },
      exitEntropy: 0.3,
    };
    const batch = batchOf(settings, ones);
    expectSameGradients(
      await run(settings, batch),
      await outcomeOf({ kind: 'stage-1', beta: 0.3 }, batch),
    );
  });

  it.each([
    ['uniform', 1, [1 / 3, 1 / 3, 1 / 3]],
    ['progressive', 1, [1 / 6, 2 / 6, 3 / 6]],
    ['progressive', 2, [1 / 14, 4 / 14, 9 / 14]],
    ['learned', 1, [0.2, 0.7, 0.1]],
  ] as const)(
    'credit to loops, %s with alpha %d, weighs their losses',
    async (kind, alpha, shares) => {
      const settings: PolicySettings = {
        ...PLAIN,
        credit: { kind: 'loops', weights: kind, alpha },
      };
      const batch = batchOf(settings, ones, kind === 'learned' ? { loopWeights: shares } : {});
      const { loss, lossPerLoop } = await run(settings, batch);
      const expected = shares.reduce((sum, share, index) => sum + share * lossPerLoop![index]!, 0);
      expectClose(loss!, [expected], 1e-6, kind);
    },
  );
});

describe('the gradient', () => {
  it('of depth as an action is that of log P_e(y) + b log p(e) times the advantage', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'depth-action', exitWeight: 0.4 },
    };
    const direct: ObjectiveDefinition = {
      ...reading(settings, ['exitDepth', 'advantage']),
      loss(parts) {
        const token = neg(atExit(parts, parts.tokenLosses));
        const joint = add(token, mul(atExit(parts, parts.logPdf), 0.4));
        return neg(parts.mean(mul(joint, parts.extra('advantage'))));
      },
    };
    const batch = batchOf(settings);
    const actual = await run(settings, batch);
    expectSameGradients(actual, await outcomeOf(direct, batch));
    const gate = actual['grad:model.early_exit_gate.weight']!;
    expect(Math.max(...gate.map(Math.abs))).toBeGreaterThan(1e-3);
  });

  it('of a clipped ratio is that of the surrogate of PPO over the pair of token and exit', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'depth-action', exitWeight: 1 },
      ratio: { kind: 'clip', low: 0.1, high: 0.15 },
    };
    const surrogate: ObjectiveDefinition = {
      ...reading(settings, ['exitDepth', 'advantage', 'behavior']),
      loss(parts) {
        const action = sub(atExit(parts, parts.logPdf), atExit(parts, parts.tokenLosses));
        const ratio = exp(sub(action, parts.extra('behavior')));
        const edge = (bound: number) => add(mul(ratio, 0), bound);
        const clipped = where(
          less(ratio, edge(0.9)),
          0.9,
          where(less(edge(1.15), ratio), 1.15, ratio),
        );
        const [a, b] = [ratio, clipped].map((r) => mul(r, parts.extra('advantage'))) as [
          Tensor,
          Tensor,
        ];
        return neg(parts.mean(where(less(a, b), a, b)));
      },
    };
    const batch = batchOf(settings);
    const [actual, expected] = [await run(settings, batch), await outcomeOf(surrogate, batch)];
    expectSameGradients(actual, expected);
    // clipping must have mattered
    const loose = await run({ ...settings, ratio: { kind: 'clip', low: 1, high: 1e6 } }, batch);
    const name = 'grad:lm_head.weight';
    expect(
      actual[name]!.some((value, index) => Math.abs(value - loose[name]![index]!) > 1e-3),
    ).toBe(true);
  });

  it('agrees with finite differences of the loss where no ratio is in it', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'depth-action', exitWeight: 0.5 },
      exitEntropy: 0.1,
    };
    const batch = batchOf(settings);
    const exact = await run(settings, batch);
    for (const [name, index] of [
      ['model.early_exit_gate.weight', 2],
      ['lm_head.weight', 17],
      ['model.layers.0.self_attn.q_proj.weight', 5],
    ] as const) {
      const slope = await slopeOf(settings, batch, name, index);
      expectClose([exact[`grad:${name}`]![index]!], [slope], 2e-3, name);
    }
  });

  it('under last-exited goes through the keys and values that an exit left to deeper loops', async () => {
    const kvPolicy = 'last-exited';
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'depth-action', exitWeight: 0.5 },
    };
    const drawn = await rolloutsOf(device, TINY, behavior, {
      prompts: PROMPTS,
      exitPolicy: sampledExit(),
      kvPolicy,
    });
    const batch = batchOf(settings, ADVANTAGES, { records: drawn, kvPolicy });
    const exact = await run(settings, batch, weights, kvPolicy);
    const other = await run(settings, batch, weights, 'per-loop');
    for (const [name, index] of [
      ['model.early_exit_gate.weight', 2],
      ['model.layers.0.self_attn.k_proj.weight', 7],
      ['model.layers.0.self_attn.v_proj.weight', 3],
    ] as const) {
      const slope = await slopeOf(settings, batch, name, index, kvPolicy);
      expectClose([exact[`grad:${name}`]![index]!], [slope], 2e-3, name);
    }
    const name = 'grad:model.layers.0.self_attn.v_proj.weight';
    const apart = exact[name]!.map((value, index) => Math.abs(value - other[name]![index]!));
    expect(Math.max(...apart)).toBeGreaterThan(1e-2);
  });

  it('of the divergence from the weights themselves is zero, and not from others', async () => {
    const settings: PolicySettings = { ...PLAIN, klCoefficient: 1 };
    const own = await rolloutsOf(device, TINY, weights, {
      prompts: PROMPTS,
      exitPolicy: sampledExit(),
    });
    const withReference = (from: readonly RolloutRecord[]) =>
      replayBatches(
        from.map((record) => ({ record, advantage: 0, weight: 1, reference: record.logprobs })),
        { settings, rows: ROWS, length: LENGTH, padId: 0 },
      ).batches[0]!;
    const same = await run(settings, withReference(own));
    expectClose(same['loss']!, [0], 1e-6, 'divergence');
    expect(Math.max(...same['grad:lm_head.weight']!.map(Math.abs))).toBeLessThan(1e-5);
    const other = await run(settings, withReference(records));
    expect(other['loss']![0]).toBeGreaterThan(1e-3);
  });
});

it('under last-exited reads nothing of loops beyond an exit', () => {
  const refused = (settings: Partial<PolicySettings>) => () =>
    policyObjective({ ...PLAIN, ...settings }, numLoops, 'last-exited');
  expect(refused({})).not.toThrow();
  expect(refused({ credit: { kind: 'last-loop' } })).toThrow(ConfigError);
  expect(refused({ credit: { kind: 'last-loop' } })).toThrow(/policy\.credit.*last-loop.*per-loop/);
  expect(refused({ exitEntropy: 0.1 })).toThrow(/policy\.exitEntropy is 0\.1.*Take 0/);
});

describe('a ratio', () => {
  const kinds: readonly PolicySettings['ratio'][] = [
    { kind: 'clip', low: 0.2, high: 0.2 },
    { kind: 'truncate', level: 'token', cap: 5 },
    { kind: 'truncate', level: 'sequence', cap: 5 },
    { kind: 'mask', level: 'token', cap: 3 },
    { kind: 'mask', level: 'sequence', cap: 3 },
  ];
  it.each(kinds)('changes nothing for rollouts of the same weights: %o', async (ratio) => {
    const plain = await run(PLAIN, batchOf(PLAIN), behavior);
    const settings = { ...PLAIN, ratio };
    expectSameGradients(await run(settings, batchOf(settings), behavior), plain, 2e-5);
  });

  /** Rollouts as if they had been so much less likely when drawn, one after the other. */
  const shifted = (by: readonly number[]) =>
    records.map((record, index) => ({
      ...record,
      logprobs: record.logprobs.map((value) => value - by[index]!),
    }));

  it('of a trainer that knows the last loop alone is 1 only for rollouts that went there', async () => {
    const settings: PolicySettings = {
      ...PLAIN,
      credit: { kind: 'last-loop' },
      ratio: { kind: 'truncate', level: 'token', cap: 1e6 },
    };
    const plain = { ...settings, ratio: PLAIN.ratio };
    const full = await rolloutsOf(device, TINY, behavior, {
      prompts: PROMPTS,
      exitPolicy: fullDepth(),
    });
    const deep = { records: full };
    expectSameGradients(
      await run(settings, batchOf(settings, ADVANTAGES, deep), behavior),
      await run(plain, batchOf(plain, ADVANTAGES, deep), behavior),
      2e-5,
    );
    const name = 'grad:lm_head.weight';
    const early = await run(settings, batchOf(settings), behavior);
    const wrong = await run(plain, batchOf(plain), behavior);
    const apart = early[name]!.map((value, index) => Math.abs(value - wrong[name]![index]!));
    expect(Math.max(...apart)).toBeGreaterThan(1e-2);
  });

  it('by token is truncated at the cap, or masked beyond it', async () => {
    const far = { records: shifted([10, 10, 10, 10]) };
    const capped: PolicySettings = {
      ...PLAIN,
      ratio: { kind: 'truncate', level: 'token', cap: 2 },
    };
    const doubled = await run(
      PLAIN,
      batchOf(
        PLAIN,
        ADVANTAGES.map((value) => 2 * value),
      ),
    );
    expectSameGradients(await run(capped, batchOf(capped, ADVANTAGES, far)), doubled);
    const masked: PolicySettings = { ...PLAIN, ratio: { kind: 'mask', level: 'token', cap: 2 } };
    const nothing = await run(masked, batchOf(masked, ADVANTAGES, far));
    expect(Math.max(...nothing['grad:lm_head.weight']!.map(Math.abs))).toBe(0);
  });

  it('by sequence is the product of those of its tokens, and of no others', async () => {
    // Rollouts of the weights themselves, but for one sequence whose every token has moved by 0.5.
    const moved = shifted([0, 0.5, 0, 0]);
    const count = records[1]!.tokenIds.length;
    const settings: PolicySettings = {
      ...PLAIN,
      ratio: { kind: 'truncate', level: 'sequence', cap: 1e6 },
    };
    const actual = await run(settings, batchOf(settings, ADVANTAGES, { records: moved }), behavior);
    const scaled = ADVANTAGES.map(
      (value, index) => value * (index === 1 ? Math.exp(0.5 * count) : 1),
    );
    expectSameGradients(actual, await run(PLAIN, batchOf(PLAIN, scaled), behavior), 5e-4);
    const masked: PolicySettings = { ...PLAIN, ratio: { kind: 'mask', level: 'sequence', cap: 2 } };
    const without = ADVANTAGES.map((value, index) => (index === 1 ? 0 : value));
    const rest = await run(masked, batchOf(masked, ADVANTAGES, { records: moved }), behavior);
    expectSameGradients(rest, await run(PLAIN, batchOf(PLAIN, without), behavior), 2e-5);
  });
});
