/**
 * What a request computes is the same to the bit alone and in company, whatever the prefill, in every
 * format of weights and of keys and values: quantised products amplify the last bit of a float to
 * whole roundings, so anything less would let sampled texts depend on the neighbours.
 */
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest } from '../../src/engine/index.js';
import {
  Engine,
  cdfThreshold,
  fixedDepth,
  fullDepth,
  parseSamplingOptions,
  sampledExit,
} from '../../src/engine/index.js';
import type { WeightSource } from '../../src/model/index.js';
import {
  besideWeights,
  initializeAdapter,
  loadCheckpoint,
  loadWeights,
  loraModules,
} from '../../src/model/index.js';
import { bundledModelPath } from '../../src/platform/node/bundled-model.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { KV_DTYPES } from '../../src/util/kv-dtype.js';
import { cli, temporaryFolder } from '../cli/support.js';
import { fixturePath } from '../convert/support.js';
import { uploadWeights } from './resident.js';
import type { SequenceRun } from './runs.js';
import { runAll } from './runs.js';

interface Format {
  readonly dtype: 'f32' | 'f16' | 'q8' | 'q4';
  readonly blockSize?: '32' | '64' | '128';
}

const FLOATS: readonly Format[] = [{ dtype: 'f32' }, { dtype: 'f16' }];
const BLOCKS = (['q8', 'q4'] as const).flatMap((dtype) =>
  (['32', '64', '128'] as const).map((blockSize): Format => ({ dtype, blockSize })),
);

const CASES = [
  ...[...FLOATS, ...BLOCKS].map((format) => ({ name: 'bundled', ...format })),
  { name: 'tiny-gqa-tied', dtype: 'f32' } as const,
  { name: 'tiny-gqa-tied', dtype: 'q8', blockSize: '128' } as const,
];
const PATHS = { bundled: bundledModelPath(), 'tiny-gqa-tied': fixturePath('tiny-gqa-tied') };

const folder = temporaryFolder();
let device: Device;
// Two threads: what each of them gets depends on the number of rows.
beforeAll(async () => void (device = await createInlineDevice({ numThreads: 2 })));
afterAll(async () => device.dispose());

const requests = (vocabSize: number): fc.Arbitrary<readonly GenerationRequest[]> =>
  fc.array(
    fc
      .record({
        promptIds: fc.array(fc.integer({ min: 1, max: vocabSize - 1 }), {
          minLength: 1,
          maxLength: 20,
        }),
        exitPolicy: fc.oneof(
          fc.constant(fullDepth()),
          fc.constant(sampledExit()),
          fc.integer({ min: 1, max: 3 }).map(fixedDepth),
          fc.double({ min: 0.1, max: 0.9, noNaN: true }).map(cdfThreshold),
        ),
        seed: fc.nat(1000),
        maxNewTokens: fc.integer({ min: 1, max: 8 }),
      })
      .map(({ seed, ...request }) => ({
        ...request,
        sampling: parseSamplingOptions({ temperature: 1, seed }),
      })),
    { minLength: 2, maxLength: 6 },
  );

/** All that was computed for a sequence, but the loops that only its prompt needed. */
function computed({ tokens, finish }: SequenceRun) {
  const { prefill: _, gateLogits, loopLogprobs, ...record } = finish.rollout!;
  const upToExit = (rows: readonly (readonly number[])[]) =>
    rows.map((row, index) => row.slice(0, record.exitDepths[index]));
  return {
    tokens: tokens.map(({ requestIndex: __, ...token }) => token),
    ...record,
    gateLogits: upToExit(gateLogits!),
    loopLogprobs: upToExit(loopLogprobs),
  };
}

/** Requests give the same alone, together and with a deferred prefill. */
async function expectInvariance(engine: Engine): Promise<void> {
  await fc.assert(
    fc.asyncProperty(requests(engine.config.vocabSize), async (batch) => {
      const [together, deferred] = [
        await runAll(engine, batch, { record: true }),
        await runAll(engine, batch, { record: true, prefill: 'deferred' }),
      ];
      for (const [index, request] of batch.entries()) {
        const [alone] = await runAll(engine, [request], { record: true });
        const expected = computed(alone!);
        expect(computed(together[index]!)).toEqual(expected);
        expect(computed(deferred[index]!)).toEqual(expected);
      }
    }),
    { seed: 12, numRuns: 2 },
  );
  await engine.dispose();
}

describe.each<Format & { readonly name: string }>(CASES)(
  '$name in $dtype $blockSize',
  ({ name, dtype, blockSize }) => {
    const converted = join(folder, [name, dtype, blockSize].join('-'));
    beforeAll(async () => {
      const size = blockSize ? ['--block-size', blockSize] : [];
      const path = PATHS[name as keyof typeof PATHS];
      const { exitCode, stderr } = await cli(
        ['convert', path, '--dtype', dtype, ...size, '--out', converted].concat('--workers', '1'),
      );
      expect(exitCode, stderr).toBe(0);
    });

    it.each(KV_DTYPES)('with keys and values in %s', async (kvDtype) => {
      const { config, weights } = await loadWeights(nodeFolder(converted));
      await expectInvariance(await Engine.create({ device, config, weights, kvDtype }));
    });
  },
);

it.each(['q8', 'q4'] as const)('bundled in %s with an adapter beside it', async (dtype) => {
  const converted = join(folder, `beside-${dtype}`);
  const argv = ['convert', PATHS.bundled, '--dtype', dtype, '--out', converted, '--workers', '1'];
  expect((await cli(argv)).exitCode).toBe(0);
  const { config, weights: base } = await loadWeights(nodeFolder(converted));
  const settings = {
    r: 3,
    lora_alpha: 6,
    target_modules: 'all-linear' as const,
    use_rslora: false,
    rank_pattern: {},
    alpha_pattern: {},
  };
  const modules = loraModules(config, settings);
  const values = [...initializeAdapter(modules, 1)].map(([name, old]): [string, Float32Array] => [
    name,
    old.map((_, index) => Math.sin(index) / 20),
  ]);
  const weights = besideWeights(base as WeightSource, { modules, weights: new Map(values) });
  await expectInvariance(await Engine.create({ device, config, weights }));
});

describe.each(Object.entries(PATHS))('%s in buffers of the device', (_, path) => {
  it.each(KV_DTYPES)('with keys and values in %s', async (kvDtype) => {
    const { config, weights } = await loadCheckpoint(nodeFolder(path));
    const resident = await uploadWeights(device, config, weights);
    await expectInvariance(await Engine.create({ device, config, weights: resident, kvDtype }));
  });
});
