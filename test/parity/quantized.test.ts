/**
 * Models in 8 and 4 bits, and caches in half precision and 8 bits, compute what they should: the definition over
 * the numbers they store, and float32 but for the noise that rounding of that step must make.
 */
import { join } from 'node:path';
import { f16round } from '@petamoriken/float16';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GenerationRequest, Trace } from '../../src/engine/index.js';
import { Engine, cdfThreshold, exitDistribution, fullDepth } from '../../src/engine/index.js';
import { mean } from '../../src/eval/index.js';
import type { ModelWeights } from '../../src/model/index.js';
import { loadWeights } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { cli, temporaryFolder } from '../cli/support.js';
import type { ReferenceHooks } from '../engine/reference-model.js';
import { referenceRun, softmax } from '../engine/reference-model.js';
import { requestOf, runAll } from '../engine/runs.js';
import type { Fixture } from './fixtures.js';
import { FIXTURES, TOLERANCE, loadFixture } from './fixtures.js';
import type { LoopArrays, StoredModel } from './rounding-noise.js';
import {
  HALF_ULP_F16,
  definition,
  maxDifference,
  noiseOf,
  noisyReads,
  noisyWeights,
  readStored,
  rms,
  rmsDifference,
} from './rounding-noise.js';

const SEEDS = [1, 2, 3];
const ARRAYS = ['hidden', 'logits'] as const;
const Q = [0.3, 0.5, 0.7, 0.9];

/** An error that is random like the noise is of its size; the mean over so many numbers hardly varies. */
const SAME_SIZE = { least: 0.6, most: 1.5 };

let device: Device;
beforeAll(async () => void (device = await createInlineDevice({ numThreads: 1 })));
afterAll(async () => device.dispose());

const promptsOf = ({ golden }: Fixture) => [golden.forward.ids[0]!, golden.generate.prompt];

async function traces(engine: Engine, fixture: Fixture): Promise<LoopArrays> {
  const parts: Trace[] = [];
  for (const ids of promptsOf(fixture)) parts.push(await engine.trace(ids));
  const loops = Array.from({ length: fixture.config.numLoops }, (_, loopIndex) => loopIndex);
  const flat = (key: 'hidden' | 'logits' | 'gateLogits') =>
    loops.map((loopIndex) =>
      parts.flatMap((trace) => {
        const size = trace[key]!.length / trace.numLoops;
        return [...trace[key]!.subarray(loopIndex * size, (loopIndex + 1) * size)];
      }),
    );
  return { hidden: flat('hidden'), logits: flat('logits'), gateLogits: flat('gateLogits') };
}

/** Size of the noise that each seed makes, by array and loop. */
function noiseSizes(of: LoopArrays, noisy: readonly LoopArrays[], key: (typeof ARRAYS)[number]) {
  return of[key].map((rows, loopIndex) =>
    rms(noisy.map((arrays) => rmsDifference(arrays[key][loopIndex]!, rows))),
  );
}

/** Exit CDF of every token after each loop, `[tokens][R]`. */
function exitCdfs({ gateLogits }: LoopArrays): readonly (readonly number[])[] {
  return gateLogits[0]!.map((_, token) => {
    const { exitCdf } = exitDistribution(gateLogits.map((ofLoop) => ofLoop[token]!));
    return [...exitCdf];
  });
}

const depthAt = (cdf: readonly number[], q: number) => cdf.findIndex((value) => value >= q) + 1;

/** Share of decisions, over tokens and thresholds, that are those of other gates. */
function shareOfEqualDepths(a: LoopArrays, b: LoopArrays): number {
  const [cdfs, others] = [exitCdfs(a), exitCdfs(b)];
  const equal = cdfs.flatMap((cdf, token) =>
    Q.map((q) => Number(depthAt(cdf, q) === depthAt(others[token]!, q))),
  );
  return mean(equal);
}

describe.each(
  FIXTURES.flatMap((name) => (['q8', 'q4'] as const).map((dtype) => [name, dtype] as const)),
)('%s in %s', (name, dtype) => {
  const folder = temporaryFolder();
  let stored: StoredModel;
  let plain: LoopArrays; // the definition over the original weights
  let actual: LoopArrays; // the engine over the converted file
  let fromStored: LoopArrays; // the definition over the stored weights
  let noisy: LoopArrays[]; // the definition with noise on weights and reads
  let readNoise: LoopArrays[]; // over the stored weights with noise on reads alone
  beforeAll(async () => {
    const fixture = await loadFixture(name);
    const path = join(folder, dtype);
    const { exitCode, stderr } = await cli(
      ['convert', fixture.path, '--dtype', dtype, '--out', path].concat('--workers', '1'),
    );
    expect(exitCode, stderr).toBe(0);
    stored = await readStored(path);
    const { config, weights: storedWeights, steps } = stored;
    const weights = withHead(fixture.weights);
    const prompts = promptsOf(fixture);
    plain = definition(config, weights, prompts);
    fromStored = definition(config, storedWeights, prompts);
    noisy = SEEDS.map((seed) => {
      const noise = noiseOf(seed);
      const noisier = noisyWeights(weights, steps, noise);
      return definition(config, noisier, prompts, noisyReads(stored, noise));
    });
    readNoise = SEEDS.map((seed) =>
      definition(config, storedWeights, prompts, noisyReads(stored, noiseOf(seed))),
    );
    const converted = await loadWeights(nodeFolder(path));
    const engine = await Engine.create({ ...converted, device });
    actual = await traces(engine, fixture);
    await engine.dispose();
  }, 60_000);

  it('states and logits of every loop are those of the stored weights, but for 8-bit reads', () => {
    for (const key of ARRAYS) {
      noiseSizes(fromStored, readNoise, key).forEach((noise, loopIndex) => {
        const error = rmsDifference(actual[key][loopIndex]!, fromStored[key][loopIndex]!);
        const what = `${key} of loop ${loopIndex}: ${error} against noise of ${noise}`;
        expect(error, what).toBeLessThan(SAME_SIZE.most * noise + TOLERANCE.forward);
      });
    }
  });

  it('they differ from float32 as much as rounding noise of these steps, in every loop', () => {
    for (const key of ARRAYS) {
      noiseSizes(plain, noisy, key).forEach((noise, loopIndex) => {
        const error = rmsDifference(actual[key][loopIndex]!, plain[key][loopIndex]!);
        const what = `${key} of loop ${loopIndex}: ${error} against noise of ${noise}`;
        expect(error, what).toBeLessThan(SAME_SIZE.most * noise);
        if (dtype === 'q4') expect(error, what).toBeGreaterThan(SAME_SIZE.least * noise);
      });
    }
  });

  it('a token exits elsewhere than in float32 only where its exit CDF was as near as noise moves it', () => {
    const cdfs = exitCdfs(plain);
    const reach =
      SAME_SIZE.most *
      Math.max(...noisy.map((arrays) => maxDifference(exitCdfs(arrays).flat(), cdfs.flat())));
    exitCdfs(actual).forEach((cdf, token) => {
      for (const q of Q) {
        const margin = Math.min(...cdfs[token]!.slice(0, -1).map((value) => Math.abs(value - q)));
        if (margin > reach) expect(depthAt(cdf, q)).toBe(depthAt(cdfs[token]!, q));
      }
    });
    const decisions = cdfs.length * Q.length;
    const expected = mean(noisy.map((arrays) => shareOfEqualDepths(arrays, plain)));
    const share = (expected * decisions + 1) / (decisions + 2); // never quite 1
    const deviation = Math.sqrt((share * (1 - share)) / decisions);
    expect(shareOfEqualDepths(actual, plain)).toBeGreaterThan(share - 3 * deviation);
  });
});

describe.each(
  FIXTURES.flatMap((name) => (['f16', 'i8'] as const).map((kvDtype) => [name, kvDtype] as const)),
)('%s with keys and values in %s', (name, kvDtype) => {
  let fixture: Fixture;
  let plain: LoopArrays; // the definition
  let rounded: LoopArrays; // the definition with a rounded cache
  let noisy: LoopArrays[]; // the definition with noise on the cache
  let engine: Engine;
  beforeAll(async () => {
    fixture = await loadFixture(name);
    const { config, weights } = fixture;
    const prompts = promptsOf(fixture);
    const withCache = (cache: ReferenceHooks['cache']) =>
      definition(config, weights, prompts, cache && { cache });
    plain = withCache(undefined);
    rounded = withCache(roundedCache(kvDtype, config.headDim));
    noisy = SEEDS.map((seed) => withCache(noisyCache(seed, kvDtype, config.headDim)));
    engine = await Engine.create({ device, config, weights, kvDtype });
  }, 60_000);
  afterAll(async () => engine.dispose());

  it('states and logits are those of a cache that is rounded to the nearest', async () => {
    const actual = await traces(engine, fixture);
    for (const key of ARRAYS) {
      noiseSizes(plain, noisy, key).forEach((noise, loopIndex) => {
        const error = rmsDifference(actual[key][loopIndex]!, rounded[key][loopIndex]!);
        const what = `${key} of loop ${loopIndex}: ${error} against noise of ${noise}`;
        const part = loopIndex === 0 ? FLIPPED : FLIPPED_LATER;
        expect(error, what).toBeLessThan(part * noise + TOLERANCE.forward / 4);
        const change = rmsDifference(actual[key][loopIndex]!, plain[key][loopIndex]!);
        expect(change, `${what}; ${change} from float32`).toBeLessThan(SAME_SIZE.most * noise);
        expect(change).toBeGreaterThan(SAME_SIZE.least * noise);
      });
    }
  });

  it('log-probabilities of the golden text at every loop move by no more than such noise moves them', async () => {
    const golden = fixture.golden.generate.runs.find(({ mode }) => mode === 'full')!;
    const request = goldenRequest(fixture, golden.tokens);
    const [run] = await runAll(engine, [request], { record: true });
    const expected = golden.loop_logprobs.flat();
    const reach = Math.max(
      ...SEEDS.map((seed) => {
        const cache = noisyCache(seed, kvDtype, fixture.config.headDim);
        return maxDifference(textLogprobs(fixture, golden.tokens, { cache }), expected);
      }),
    );
    expect(maxDifference(textLogprobs(fixture, golden.tokens, {}), expected)).toBeLessThan(1e-6);
    const moved = maxDifference(run!.finish.rollout!.loopLogprobs.flat(), expected);
    expect(moved, `noise: ${reach}`).toBeLessThan(SAME_SIZE.most * reach + TOLERANCE.rollout);
  });

  it('a token exits elsewhere than in float32 only where its exit CDF was as near as noise moves it', async () => {
    const plainCdfs = exitCdfs(plain);
    const moves = noisy.map((arrays) => maxDifference(exitCdfs(arrays).flat(), plainCdfs.flat()));
    const reach = SAME_SIZE.most * Math.max(...moves);
    const actual = exitCdfs(await traces(engine, fixture));
    let numCertain = 0;
    for (const [token, cdf] of plainCdfs.entries()) {
      for (const q of Q) {
        if (cdf.slice(0, -1).some((value) => Math.abs(value - q) <= reach)) continue;
        numCertain++;
        expect(depthAt(actual[token]!, q)).toBe(depthAt(cdf, q));
      }
    }
    expect(numCertain).toBeGreaterThan(0.9 * Q.length * plainCdfs.length);
    if (kvDtype === 'i8') return;
    // The golden margins of the exit CDF are 1e-3 (test/fixtures/README.md).
    expect(reach).toBeLessThan(9.8e-4);
    const runs = fixture.golden.generate.runs.filter(({ mode }) => mode === 'exact');
    expect(runs.length).toBeGreaterThanOrEqual(4);
    for (const golden of runs) {
      const exitPolicy = cdfThreshold(golden.q!);
      const request = { ...goldenRequest(fixture, golden.tokens), exitPolicy };
      const [run] = await runAll(engine, [request], { record: true });
      expect(run!.finish.rollout!.exitDepths).toEqual(golden.exit_steps);
    }
  });
});

/**
 * Part of the noise that is left where float32 and float64 round to different neighbours: they differ by
 * 1e-6 of values whose steps are 1e-3, so in one value of 1000 by a whole step, which is sqrt(12) times
 * the usual error: sqrt(1 / 1000) * sqrt(12).
 */
const FLIPPED = 0.11;
/** Those flips cause others in later loops; a cache rounded in another way would be sqrt(2) off. */
const FLIPPED_LATER = 0.5;

type RowHook = NonNullable<ReferenceHooks['cache']>;

/** Step of 8-bit integers for every number of a row [K * Dh]: the largest of its 32 dimensions / 127. */
function int8Step(row: readonly number[], index: number, headDim: number): number {
  const d = index % headDim;
  const block = row.slice(index - (d % 32), index - d + Math.min(headDim, d - (d % 32) + 32));
  return Math.max(...block.map(Math.abs)) / 127;
}

/** Rounds to what a cache stores. */
function roundedCache(kvDtype: 'f16' | 'i8', headDim: number): RowHook {
  if (kvDtype === 'f16') return (row) => row.map(f16round);
  return (row) =>
    row.map((value, index) => {
      const step = int8Step(row, index, headDim);
      return Math.round(value / step) * step;
    });
}

/** Moves numbers by up to half a step of what a cache stores. */
function noisyCache(seed: number, kvDtype: 'f16' | 'i8', headDim: number): RowHook {
  const noise = noiseOf(seed);
  // Steps of halves are relative to the power of two below a value: on average 0.72 of the value's own.
  const halfStep = (row: readonly number[], index: number) =>
    kvDtype === 'f16'
      ? HALF_ULP_F16 * 2 ** Math.floor(Math.log2(Math.abs(row[index]!)))
      : int8Step(row, index, headDim) / 2;
  return (row) => row.map((value, index) => value + halfStep(row, index) * noise());
}

function goldenRequest({ golden }: Fixture, tokens: readonly number[]): GenerationRequest {
  const rest = { maxNewTokens: tokens.length, forcedIds: tokens };
  return requestOf(golden.generate.prompt, fullDepth(), rest);
}

/** Log-probabilities of a text behind the golden prompt, `[tokens * R]`, by the definition. */
function textLogprobs(
  { config, weights, golden }: Fixture,
  tokens: readonly number[],
  hooks: ReferenceHooks,
): number[] {
  const { prompt } = golden.generate;
  const ids = [...prompt, ...tokens.slice(0, -1)];
  const inputs = ids.map((id) => ({ id, depth: config.numLoops }));
  const read = referenceRun(config, weights, inputs, (depth) => depth, hooks);
  return tokens.flatMap((id, n) =>
    read[prompt.length - 1 + n]!.logits.map((row) => Math.log(softmax(row)[id]!)),
  );
}

/** With the head as a weight of its own. */
function withHead(weights: ModelWeights): ModelWeights {
  const head = weights.get('lm_head.weight') ?? weights.get('model.embed_tokens.weight')!;
  return new Map([...weights, ['lm_head.weight', head]]);
}
