/** Requests that cannot be served are refused in one line, before anything is computed. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CapacityError, ConfigError, RequestError } from '../../src/errors.js';
import type { GenerationRequest } from '../../src/engine/index.js';
import { Engine, fullDepth } from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { SMALL_MODEL, makeModel } from './random-model.js';
import type { RunOptions } from './runs.js';
import { requestOf, runAll } from './runs.js';

let device: Device;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const { config, weights } = await makeModel(SMALL_MODEL);
  engine = await Engine.create({ device, config, weights });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

interface Refusal {
  readonly what: string;
  readonly request?: Partial<GenerationRequest>;
  readonly options?: RunOptions;
  readonly error: new (...args: never[]) => Error;
  readonly says: RegExp;
}

const REFUSALS: readonly Refusal[] = [
  { what: 'an empty prompt', request: { promptIds: [] }, error: RequestError, says: /empty/ },
  {
    what: 'an id of the vocabulary size',
    request: { promptIds: [1, 11] },
    error: RequestError,
    says: /11.*0 to 10/,
  },
  { what: 'a negative id', request: { promptIds: [-1] }, error: RequestError, says: /-1/ },
  { what: 'a fractional id', request: { promptIds: [1.5] }, error: RequestError, says: /1\.5/ },
  {
    what: 'a stop id outside',
    request: { stopIds: [99] },
    error: RequestError,
    says: /stop ids.*99/,
  },
  {
    what: 'a forced id outside',
    request: { forcedIds: [11] },
    error: RequestError,
    says: /forced ids.*11/,
  },
  {
    what: 'a prompt beyond the context',
    request: { promptIds: Array(65).fill(1) },
    error: CapacityError,
    says: /65.*64/,
  },
  {
    what: 'no new tokens',
    request: { maxNewTokens: 0 },
    error: ConfigError,
    says: /maxNewTokens is 0/,
  },
  { what: 'half a token', request: { maxNewTokens: 1.5 }, error: ConfigError, says: /1\.5/ },
  { what: 'no loops', options: { numLoops: 0 }, error: ConfigError, says: /numLoops is 0/ },
  { what: 'too many loops', options: { numLoops: 65 }, error: ConfigError, says: /65.*1 to 64/ },
  { what: 'NaN loops', options: { numLoops: NaN }, error: ConfigError, says: /NaN/ },
  {
    what: 'a deferred prefill that would change results',
    options: { prefill: 'deferred', kvPolicy: 'shared' },
    error: ConfigError,
    says: /deferred.*shared/,
  },
];

it.each(REFUSALS)('$what', async ({ request = {}, options = {}, error, says }) => {
  const start = engine.numExecuted;
  const before = await device.stats();
  const good = requestOf([1, 2], fullDepth());
  const failure = await runAll(engine, [good, { ...good, ...request }], options).catch(
    (thrown: unknown) => thrown,
  );
  expect(failure).toBeInstanceOf(error);
  expect((failure as Error).message).toMatch(says);
  expect((failure as Error).message).not.toContain('\n');
  expect(engine.numExecuted).toBe(start);
  expect(await device.stats()).toEqual(before);
});

it('a run without requests', async () => {
  await expect(runAll(engine, [])).rejects.toThrow(RequestError);
});

it('a trace of nothing, of an unknown id and of too many tokens', async () => {
  await expect(engine.trace([])).rejects.toThrow(RequestError);
  await expect(engine.trace([11])).rejects.toThrow(RequestError);
  await expect(engine.trace(Array(65).fill(1))).rejects.toThrow(CapacityError);
  await expect(engine.trace([1], { numLoops: 0 })).rejects.toThrow(ConfigError);
});
