/**
 * Rollouts as data of a run: the policy learns what it is rewarded for, depth as well as tokens; what is drawn
 * follows from weights, seed and step; and what a task does wrong is told.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import type { PolicyTask, RolloutSourceOptions } from '../../src/rl/index.js';
import { RolloutSource, parseRLSettings, policyObjective } from '../../src/rl/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { TrainState } from '../../src/train/index.js';
import { SMALL_MODEL, randomWeights } from '../engine/random-model.js';
import { ADAMW } from '../train/support.js';

const CONFIG: LoopLMConfig = { ...SMALL_MODEL.config, eosTokenIds: [0] };
const weights = randomWeights(CONFIG, 3);
const [ROWS, LENGTH] = [8, 16];
const text = {
  encode: (prompt: unknown) => prompt as readonly number[],
  tokenizer: undefined,
  stopIds: [0],
};

/** Say after me: the first token of the answer should be the last of the prompt. */
const echo: PolicyTask<{ prompt: readonly number[] }> = {
  name: 'echo',
  draw: (rng) => ({ prompt: [1 + (Math.abs(rng.next()) % 2)] }),
  reward: ({ tokenIds }, { prompt }) => (tokenIds[0] === prompt.at(-1) ? 1 : 0),
};

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

type Options = Partial<RolloutSourceOptions<{ prompt: readonly number[] }>>;

const sourceOf = (settings: object = {}, options: Options = {}) =>
  new RolloutSource({
    task: echo,
    text,
    settings: parseRLSettings({ groups: 4, groupSize: 6, maxNewTokens: 1, ...settings }),
    model: CONFIG,
    rows: ROWS,
    length: LENGTH,
    seed: 5,
    ...options,
  });

/** Trains for so many updates; what each of them told. */
async function learn(
  source: RolloutSource<{ prompt: readonly number[] }>,
  settings: object,
  updates: number,
  rate = 0.02,
) {
  const { policy, kvPolicy } = parseRLSettings(settings);
  const state = await TrainState.create({
    device,
    config: CONFIG,
    rows: ROWS,
    length: LENGTH,
    objective: policyObjective(policy, CONFIG.numLoops, kvPolicy),
    optimizer: { ...ADAMW, weightDecay: 0 },
    recompute: 'none',
    weights,
    tellsTokens: true,
  });
  const moment = { weights: state.residentWeights, model: CONFIG };
  const told = [];
  try {
    for (let trainStep = 0; trainStep < updates; trainStep++) {
      const batches = await source.batchesFor({ ...moment, trainStep });
      const { tokens } = await state.update(batches, trainStep, rate);
      told.push(source.learnt({ tokens: tokens!, learningRate: rate }));
    }
    return { told, weights: await state.weights() };
  } finally {
    await source.release();
    await state.dispose();
  }
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const DEPTH_ACTION = { policy: { credit: { kind: 'depth-action' } } };

describe('a policy', () => {
  it.each([
    ['depth as an action', DEPTH_ACTION],
    ['credit to the exit', {}],
    [
      'depth as an action where exits leave their keys and values',
      { ...DEPTH_ACTION, kvPolicy: 'last-exited', maxNewTokens: 3 },
    ],
    ['GRPO', { policy: { ratio: { kind: 'clip' } }, advantages: { lengthNorm: 'sequence' } }],
    [
      'RLTT',
      { exitPolicy: 'full', policy: { credit: { kind: 'loops' }, ratio: { kind: 'none' } } },
    ],
    [
      'learnt weights',
      { policy: { credit: { kind: 'loops', weights: 'learned' }, ratio: { kind: 'none' } } },
    ],
  ])('learns what it is rewarded for, by %s, and is replayed exactly', async (_, settings) => {
    const { told } = await learn(sourceOf(settings), settings, 40);
    const rewards = told.map(({ reward }) => reward);
    expect(mean(rewards.slice(0, 5))).toBeLessThan(0.5);
    expect(mean(rewards.slice(-5))).toBeGreaterThan(0.8);
    for (const { maxTokenDifference, maxExitDifference, divergence } of told) {
      expect(maxTokenDifference).toBeLessThan(1e-4);
      expect(maxExitDifference).toBeLessThan(1e-4);
      expect(Math.abs(divergence)).toBeLessThan(1e-4);
    }
  });

  it('learns to stop early where depth has a price, and to keep to a budget', async () => {
    const depthAfter = async (depth: object) => {
      const settings = { ...DEPTH_ACTION, depth };
      const { told } = await learn(sourceOf(settings), settings, 60);
      return mean(told.slice(-5).map(({ meanDepth }) => meanDepth));
    };
    expect(await depthAfter({ price: 3 })).toBeLessThan(1.3);
    const deep = await depthAfter({ budget: 3, budgetPrice: 1 });
    expect(deep).toBeGreaterThan(2.6);
    expect(deep).toBeLessThan(3.4);
  });

  it('is held to a reference', async () => {
    const settings = (klCoefficient: number) => ({ policy: { klCoefficient } });
    const far = async (klCoefficient: number) => {
      const source = sourceOf(settings(klCoefficient), { reference: weights });
      const result = await learn(source, settings(klCoefficient), 25);
      const name = 'lm_head.weight';
      return Math.hypot(
        ...result.weights.get(name)!.map((value, i) => value - weights.get(name)![i]!),
      );
    };
    expect(await far(20)).toBeLessThan(0.8 * (await far(0)));
    const without = sourceOf(settings(1));
    await expect(learn(without, settings(1), 1)).rejects.toThrow(
      /klCoefficient is 1.*give reference/,
    );
  });
});

describe('what is drawn', () => {
  it('follows from weights, seed, step and what was saved', async () => {
    const run = async (seed: number) => {
      const source = sourceOf({}, { seed });
      const result = await learn(source, {}, 4);
      return { ...result, saved: source.save() };
    };
    const [once, again, other] = [await run(5), await run(5), await run(6)];
    expect(again).toEqual(once);
    expect(other.told).not.toEqual(once.told);
  });

  it('is harder where the policy does well', async () => {
    const levels: PolicyTask<{ prompt: readonly number[] }> = {
      name: 'levels',
      maxDifficulty: 3,
      draw: (_, difficulty) => ({ prompt: [difficulty] }),
      // the first is always solved, the second never, the third now and then
      reward: ({ tokenIds }, { prompt: [level] }) =>
        level === 1 ? 1 : level === 2 ? 0 : tokenIds[0]! % 2,
    };
    const source = sourceOf({ groups: 12 }, { task: levels });
    const { told } = await learn(source, {}, 6, 1e-9);
    expect(told.at(-1)!['difficulty']).toBeGreaterThan(2.3);
    expect(told.at(-1)!['droppedGroups']).toBeLessThan(5);
  });
});

describe('a fault', () => {
  const failing = (when: (tokenIds: readonly number[]) => boolean): typeof echo => ({
    ...echo,
    reward(answer, problem, signal) {
      if (when(answer.tokenIds)) throw new Error('no judge');
      return echo.reward(answer, problem, signal);
    },
  });

  it('of some rewards leaves those answers out and is told', async () => {
    const sentences: string[] = [];
    const source = sourceOf(
      {},
      {
        task: failing(([id]) => id! > 6),
        onFault: (sentence) => sentences.push(sentence),
      },
    );
    const { told } = await learn(source, {}, 1);
    const { rewardFaults } = told[0]!;
    expect(rewardFaults).toBeGreaterThan(0);
    expect(rewardFaults).toBeLessThan(24);
    expect(sentences).toEqual([
      `${String(rewardFaults)} of 24 rewards of the task echo are missing: it threw: no judge; those answers are left out`,
    ]);
  });

  it('of all rewards ends the run', async () => {
    const source = sourceOf({}, { task: failing(() => true) });
    await expect(learn(source, {}, 1)).rejects.toThrow(
      /24 of 24 rewards of the task echo are missing: it threw: no judge\. Correct the task/,
    );
  });

  it('where no group teaches anything changes little: its advantages are zero', async () => {
    const source = sourceOf({}, { task: { ...echo, reward: () => 1 } });
    const result = await learn(source, {}, 2);
    expect(result.told[1]!['droppedGroups']).toBe(4);
    for (const [name, values] of result.weights) expect(values, name).toEqual(weights.get(name));
  });

  it('of a prompt that leaves no room is told', async () => {
    const prompt = Array.from({ length: LENGTH + 1 }, () => 1);
    const source = sourceOf({}, { task: { ...echo, draw: () => ({ prompt }) } });
    await expect(learn(source, {}, 1)).rejects.toThrow(
      /prompt of the task echo has 17 tokens, and rows have 16/,
    );
  });

  it('of settings that contradict is told', () => {
    const contradictory = () => sourceOf({ exitPolicy: 'cdf:0.5', ...DEPTH_ACTION });
    expect(contradictory).toThrow(ConfigError);
    expect(contradictory).toThrow(/exitPolicy is "cdf:0\.5".*needs "sampled"/);
    expect(() => parseRLSettings({ groupSize: 1 })).toThrow(/groupSize is 1; it must be/);
  });
});
