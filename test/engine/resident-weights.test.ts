/**
 * An engine whose weights are in buffers of the device: it computes what an engine with constants
 * does, and shares them with a trainer, whose updates its next step sees.
 */
import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packDocuments } from '../../src/data/index.js';
import type { GenerationRequest, RolloutRecord } from '../../src/engine/index.js';
import {
  Engine,
  KV_POLICIES,
  cdfThreshold,
  fixedDepth,
  fullDepth,
  parseSamplingOptions,
  stateDelta,
} from '../../src/engine/index.js';
import { ConfigError, RequestError } from '../../src/errors.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import { hasExitGate } from '../../src/model/index.js';
import type { Device, DeviceOptions } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { TrainState } from '../../src/train/index.js';
import { expectClose } from '../parity/fixtures.js';
import { ADAMW } from '../train/support.js';
import {
  SMALL_MODEL,
  VOCAB_SIZE,
  makeModel,
  modelDraw,
  nanbeigeDraw,
  randomWeights,
} from './random-model.js';
import type { CountingDevice } from './resident.js';
import { countingDevice, uploadWeights } from './resident.js';
import type { RunOptions } from './runs.js';
import { requestOf, runAll } from './runs.js';

const built = new URL('../../dist/src/platform/node/index.js', import.meta.url);
if (!existsSync(built)) throw new Error('dist/ is missing: run `npm run build` first.');
const { createNodeDevice } = (await import(built.href)) as {
  createNodeDevice(options?: DeviceOptions): Promise<Device>;
};

const PREFILLS: readonly RunOptions[] = [
  { kvPolicy: 'per-loop', prefill: 'full' },
  { kvPolicy: 'per-loop', prefill: 'deferred' },
  { kvPolicy: 'last-exited' },
  { kvPolicy: 'shared' },
];

/** Exits of all depths, whether the model has a gate or not. */
const policyOf = (config: LoopLMConfig) =>
  hasExitGate(config) ? cdfThreshold(0.6) : stateDelta(0.5);

const SAMPLED = parseSamplingOptions({ temperature: 1, seed: 4 });

function requestsOf(config: LoopLMConfig): readonly GenerationRequest[] {
  const rest = { record: true, maxNewTokens: 7, sampling: SAMPLED };
  return [
    requestOf([3, 1, 4, 1, 5, 9, 2, 6], policyOf(config), rest),
    requestOf([2], fullDepth(), rest),
    requestOf([7, 1, 8], fixedDepth(1), rest),
  ];
}

/** Everything but which weights it was. */
function computed(record: RolloutRecord): Partial<RolloutRecord> {
  const { weightsVersion: _, weightsVersions: __, ...rest } = record;
  return rest;
}

async function recordsOf(
  engine: Engine,
  requests: readonly GenerationRequest[],
  options: RunOptions = {},
): Promise<readonly RolloutRecord[]> {
  const runs = await runAll(engine, requests, options);
  return runs.map(({ finish }) => finish.rollout!);
}

describe('weights in buffers that do not change', () => {
  let device: Device;
  beforeAll(async () => void (device = await createInlineDevice({ numThreads: 2 })));
  afterAll(async () => device.dispose());

  it('give what the same weights give as constants, tied or not, with a gate or without', async () => {
    const draws = [modelDraw, nanbeigeDraw].flatMap((draw) =>
      fc.sample(draw, { numRuns: 6, seed: 3 }),
    );
    for (const tie of [true, false]) {
      expect(draws.some(({ config }) => config.tieWordEmbeddings === tie)).toBe(true);
    }
    for (const draw of draws) {
      const { config, weights } = await makeModel(draw);
      const constants = await Engine.create({ device, config, weights });
      const resident = await uploadWeights(device, config, weights);
      const engine = await Engine.create({ device, config, weights: resident });
      for (const options of PREFILLS) {
        const expected = await recordsOf(constants, requestsOf(config), options);
        expect(await recordsOf(engine, requestsOf(config), options)).toEqual(expected);
      }
      await constants.dispose();
      await engine.dispose();
    }
  });

  // Longer sums are added in another order: constants are packed in other pieces.
  it.each(['ouro', 'nanbeige'] as const)(
    'of a wider %s give it within 1e-5',
    async (architecture) => {
      const config: LoopLMConfig = {
        ...SMALL_MODEL.config,
        architecture,
        hiddenSize: 192,
        intermediateSize: 320,
        numAttentionHeads: 6,
        headDim: 32,
      };
      const weights = randomWeights(config, 9);
      const constants = await Engine.create({ device, config, weights });
      const resident = await uploadWeights(device, config, weights);
      const engine = await Engine.create({ device, config, weights: resident });
      for (const options of PREFILLS) {
        const expected = await recordsOf(constants, requestsOf(config), options);
        const actual = await recordsOf(engine, requestsOf(config), options);
        for (const [index, record] of actual.entries()) {
          const { tokenIds, exitDepths, loopLogprobs } = expected[index]!;
          expect(record).toMatchObject({ tokenIds, exitDepths });
          expectClose(record.loopLogprobs.flat(), loopLogprobs.flat(), 1e-5, 'log-probabilities');
        }
      }
      await constants.dispose();
      await engine.dispose();
    },
  );

  it('are refused where they are not those of the model, or on another device', async () => {
    const { config, weights } = await makeModel(SMALL_MODEL);
    const resident = await uploadWeights(device, config, weights);
    const before = await device.stats();
    const create = (change: object, on = device) =>
      Engine.create({ device: on, config, weights: { ...resident, ...change } });
    const { 'model.norm.weight': norm, ...others } = Object.fromEntries(resident.buffers);
    const buffers = new Map(Object.entries(others));
    await expect(create({ buffers })).rejects.toThrow(ConfigError);
    await expect(create({ buffers })).rejects.toThrow(
      'The weight model.norm.weight is missing; the model needs f32 [12]. Take weights of this model.',
    );
    const wrong = new Map(buffers).set('model.norm.weight', { ...norm!, dims: [3, 4] });
    await expect(create({ buffers: wrong })).rejects.toThrow(
      'is f32 [3, 4]; the model needs f32 [12]',
    );
    await expect(create({}, countingDevice(device))).rejects.toThrow(/buffers of another device/);
    expect(await device.stats()).toEqual(before);
  });
});

const SIZE = { rows: 2, length: 8 };
const { batch: LESSON } = packDocuments(
  [
    { ids: [1, 5, 2, 9, 10, 3], targets: [5, 2, 9, 10, 3, 0] },
    { ids: [8, 8, 1], targets: [2, 10, 6] },
  ],
  { ...SIZE, padId: 0 },
);

const MODELS: readonly (readonly [string, LoopLMConfig])[] = [
  ['a model with a gate', SMALL_MODEL.config],
  ['a tied model', { ...SMALL_MODEL.config, tieWordEmbeddings: true }],
  ['a model without a gate', { ...SMALL_MODEL.config, architecture: 'nanbeige' }],
  [
    'a tied model without a gate or a norm between loops',
    {
      ...SMALL_MODEL.config,
      architecture: 'nanbeige',
      skipLoopFinalNorm: true,
      tieWordEmbeddings: true,
    },
  ],
];

function trainStateOf(device: Device, config: LoopLMConfig): Promise<TrainState> {
  return TrainState.create({
    device,
    config,
    ...SIZE,
    objective: hasExitGate(config) ? { kind: 'stage-1', beta: 0.1 } : { kind: 'last-loop' },
    optimizer: ADAMW,
    recompute: 'none',
    weights: randomWeights(config, 5),
  });
}

/** Large enough for another text. */
const LEARNING_RATE = 0.05;

describe.each([
  ['inline', createInlineDevice],
  ['worker', createNodeDevice],
] as const)('weights of a trainer on the same device, %s', (_, open) => {
  let device: CountingDevice;
  beforeAll(async () => void (device = countingDevice(await open({ numThreads: 1 }))));
  afterAll(async () => device.dispose());

  /** A fresh engine from what the trainer holds now. */
  async function withCopy<T>(
    state: TrainState,
    config: LoopLMConfig,
    work: (engine: Engine) => Promise<T>,
  ): Promise<T> {
    const engine = await Engine.create({ device, config, weights: await state.weights() });
    try {
      return await work(engine);
    } finally {
      await engine.dispose();
    }
  }

  it.each(MODELS)(
    'an update is in the next text of %s, without a program, an upload or a copy',
    async (__, config) => {
      const state = await trainStateOf(device, config);
      const engine = await Engine.create({ device, config, weights: state.residentWeights });
      const requests = requestsOf(config);
      const first = await recordsOf(engine, requests);
      expect(first.map(({ weightsVersion }) => weightsVersion)).toEqual([0, 0, 0]);
      await state.update([LESSON], 0, LEARNING_RATE);
      const before = { counts: { ...device.counts }, stats: await device.stats() };
      device.fed.clear();
      const second = await recordsOf(engine, requests);
      expect({ counts: device.counts, stats: await device.stats() }).toEqual(before);
      expect([...device.fed]).toEqual(['ids']);
      expect(second.map(({ weightsVersion }) => weightsVersion)).toEqual([1, 1, 1]);
      expect(second.map(computed)).not.toEqual(first.map(computed));
      const fresh = await withCopy(state, config, (copy) => recordsOf(copy, requests));
      expect(second.map(computed)).toEqual(fresh.map(computed));
      await engine.dispose();
      await state.dispose();
    },
  );

  it('an update amid a text is seen from the next token on, as if all before had been given', async () => {
    const { config } = SMALL_MODEL;
    const state = await trainStateOf(device, config);
    const engine = await Engine.create({ device, config, weights: state.residentWeights });
    const changed = { kvPolicies: 0, amidTokens: 0 };
    for (const [index, options] of PREFILLS.entries()) {
      // Where exits cannot be taken back, let them be the same with other weights.
      const isExact = options.kvPolicy === 'per-loop';
      const exitPolicy = isExact ? cdfThreshold(0.6) : fixedDepth(2);
      const rest = { ...options, record: true, maxNewTokens: 16, sampling: SAMPLED };
      const requests = [
        requestOf([3, 1, 4, 1, 5], exitPolicy, rest),
        requestOf([2, 7], exitPolicy, rest),
      ];
      let updating: Promise<unknown> | undefined;
      const records: RolloutRecord[] = [];
      for await (const event of engine.generate(requests)) {
        if (event.kind === 'finish') records[event.requestIndex] = event.rollout!;
        else if (event.tokenIndex === 5) updating ??= state.update([LESSON], index, LEARNING_RATE);
      }
      await updating;
      expect(engine.numPagesUsed).toBe(0);
      for (const [request, record] of requests.map((one, at) => [one, records[at]!] as const)) {
        expect(record.weightsVersion).toBe(index);
        const versions = record.weightsVersions!;
        const first = versions.indexOf(index + 1);
        expect(first).toBeGreaterThan(0);
        expect(versions).toEqual(versions.map((___, n) => index + Number(n >= first)));
        changed.amidTokens += versions.length - first;
        const given = { ...request, forcedIds: record.tokenIds.slice(0, first) };
        const fresh = await withCopy(state, config, (copy) => recordsOf(copy, [given]));
        for (const key of ['tokenIds', 'exitDepths', 'logprobs'] as const) {
          expect(record[key].slice(first), key).toEqual(fresh[0]![key].slice(first));
        }
      }
      changed.kvPolicies++;
    }
    expect(changed.kvPolicies).toBe(PREFILLS.length);
    expect(changed.amidTokens).toBeGreaterThan(PREFILLS.length * 8);
    await engine.dispose();
    await state.dispose();
  });

  it('updates at any moment of any step leave no token between two models', async () => {
    const { config } = SMALL_MODEL;
    // Where exits cannot be taken back, let them be the same with other weights.
    const policies = {
      'per-loop': cdfThreshold(0.6),
      'last-exited': fixedDepth(2),
      shared: fixedDepth(2),
    };
    const drafts: RunOptions = { speculation: 2 };
    const options = [...KV_POLICIES.map((kvPolicy): RunOptions => ({ kvPolicy })), drafts];
    const requests = options.map((one, index) =>
      requestOf([3, 1, 4, 1, 5].slice(index), policies[one.kvPolicy ?? 'per-loop'], {
        ...one,
        record: true,
        maxNewTokens: 8,
        sampling: SAMPLED,
      }),
    );
    const state = await trainStateOf(device, config);
    const engine = await Engine.create({ device, config, weights: state.residentWeights });
    // Gets the same updates, one by one and only while its engine rests.
    const calm = await trainStateOf(device, config);
    const reference = await Engine.create({ device, config, weights: calm.residentWeights });
    const moment = fc.record({ submit: fc.nat(40), when: fc.constantFrom('before', 'after') });
    await fc.assert(
      fc.asyncProperty(fc.array(moment, { minLength: 1, maxLength: 4 }), async (moments) => {
        const updates: Promise<unknown>[] = [];
        let numSubmits = 0;
        device.onSubmit = (when) => {
          if (moments.some((at) => at.submit === numSubmits && at.when === when)) {
            updates.push(state.update([LESSON], state.residentWeights.version, LEARNING_RATE));
          }
          if (when === 'after') numSubmits++;
        };
        const records = await recordsOf(engine, requests);
        device.onSubmit = undefined;
        await Promise.all(updates);
        expect(engine.numPagesUsed).toBe(0);

        // What does each version say of the tokens that are said to be its own?
        const given = requests.map((request, index) => ({
          ...request,
          speculation: 'off' as const,
          forcedIds: records[index]!.tokenIds,
        }));
        for (let left = updates.length; left >= 0; left--) {
          const { version } = calm.residentWeights;
          const expected = await recordsOf(reference, given);
          for (const [index, { weightsVersion, weightsVersions, ...record }] of records.entries()) {
            record.tokenIds.forEach((___, n) => {
              if ((weightsVersions?.[n] ?? weightsVersion) !== version) return;
              for (const key of ['exitDepths', 'logprobs'] as const) {
                expect(record[key][n], key).toBe(expected[index]![key][n]);
              }
            });
          }
          if (left > 0) await calm.update([LESSON], version, LEARNING_RATE);
        }
      }),
      { seed: 6, numRuns: 8, endOnFailure: true },
    );
    for (const one of [engine, reference, state, calm]) await one.dispose();
  });

  it('a trace during which they change is refused, as is a text after the trainer is gone', async () => {
    const { config } = SMALL_MODEL;
    const state = await trainStateOf(device, config);
    const engine = await Engine.create({ device, config, weights: state.residentWeights });
    const expected = await engine.trace([1, 2, 3]);
    const tracing = engine.trace([1, 2, 3]);
    const updating = state.update([LESSON], 0, LEARNING_RATE);
    await expect(tracing).rejects.toThrow(RequestError);
    await expect(tracing).rejects.toThrow(/weights changed .* between two updates/);
    await updating;
    expect((await engine.trace([1, 2, 3])).logits).not.toEqual(expected.logits);
    await state.dispose();
    const refused = recordsOf(engine, requestsOf(config));
    await expect(refused).rejects.toMatchObject({ code: 'disposed' });
    await engine.dispose();
  });
});

it('versions of a run that goes on count from the updates before', async () => {
  const device = await createInlineDevice({ numThreads: 1 });
  const { config } = SMALL_MODEL;
  const state = await TrainState.create({
    device,
    config,
    ...SIZE,
    objective: { kind: 'last-loop' },
    optimizer: ADAMW,
    recompute: 'none',
    weights: randomWeights(config, 5),
    trainStepsDone: 40,
  });
  const weights = state.residentWeights;
  const engine = await Engine.create({ device, config, weights });
  const request = requestOf([VOCAB_SIZE - 1], fullDepth(), { record: true });
  await state.update([LESSON], 40, LEARNING_RATE);
  expect(weights.version).toBe(41);
  expect((await recordsOf(engine, [request]))[0]).toMatchObject({ weightsVersion: 41 });
  await device.dispose();
});
