/**
 * Models that are loaded, given up while they load or compute, and disposed: nothing stays behind, and
 * every error names the model. On the device of a worker thread, as compiled.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { Trace } from '../src/engine/index.js';
import { loadGate, readModelConfig } from '../src/model/index.js';
import { nodeFolder } from '../src/platform/node/files/index.js';
import type * as Errors from '../src/errors.js';
import type * as Library from '../src/index.js';
import type * as Platform from '../src/platform/node/index.js';
import type { PretrainedOptions } from '../src/platform/node/index.js';
import type * as Tokenizers from '../src/tokenizer/index.js';
import { repositoryPath } from './repository.js';

const built = (path: string) => new URL(`../dist/src/${path}`, import.meta.url);
if (!existsSync(built('index.js'))) throw new Error('dist/ is missing: run `npm run build` first.');
// What LoopLM.fromPretrained calls: here, its import of the platform leads to the sources.
const { openPretrained } = (await import(built('platform/node/index.js').href)) as typeof Platform;
const { LoopLM } = (await import(built('index.js').href)) as typeof Library;
const { DisposedError } = (await import(built('errors.js').href)) as typeof Errors;
const { ChatTemplate } = (await import(built('tokenizer/index.js').href)) as typeof Tokenizers;

const TINY = fileURLToPath(new URL('fixtures/tiny-mha', import.meta.url));
const BRIEF = { maxNewTokens: 3 };
const folder = mkdtempSync(join(tmpdir(), 'looplm-loading-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const load = (options: PretrainedOptions = {}) =>
  openPretrained(TINY, { numThreads: 2, ...options }, LoopLM.load);

/** Threads of this process; undefined where that cannot be told. */
function numThreads(): number | undefined {
  return existsSync('/proc/self/task') ? readdirSync('/proc/self/task').length : undefined;
}

describe('weights that can be exchanged', () => {
  it.each(['auto', 'f32'] as const)('are those of the checkpoint, dtype %s', async (dtype) => {
    const model = await load({ updatable: true, dtype });
    expect(await model.updateWeights(nodeFolder(TINY))).toBe(1);
    await model.dispose();
  });

  it('are of no smaller format', async () => {
    await expect(load({ updatable: true, dtype: 'q8' })).rejects.toThrow(
      'dtype is q8, but weights that can be exchanged are float32. Leave dtype out.',
    );
  });
});

describe('a gate by name', () => {
  it.each(['f32', 'q8'] as const)('decides, and nothing else changes, in %s', async (dtype) => {
    const path = repositoryPath('models/bundled');
    const traceWith = async (options: PretrainedOptions) => {
      const model = await openPretrained(
        path,
        { dtype, convertedDir: folder, numThreads: 1, ...options },
        LoopLM.load,
      );
      try {
        return await model.trace('Where is the ball?');
      } finally {
        await model.dispose();
      }
    };
    const own = await traceWith({});
    expect(await traceWith({ gate: 'stage1' })).toEqual(own);
    const { gateLogits, logits } = await traceWith({ gate: 'stage2-published' });
    expect(logits).toEqual(own.logits);
    expect(gateLogits).not.toEqual(own.gateLogits);
    const { config } = await readModelConfig(nodeFolder(path));
    const [weight, bias] = (await loadGate(nodeFolder(path), config, 'stage2-published')).values();
    const width = weight!.length;
    for (const [place, logit] of gateLogits!.entries()) {
      const h = own.hidden.subarray(place * width, (place + 1) * width);
      expect(logit).toBeCloseTo(
        h.reduce((sum, value, i) => sum + value * weight![i]!, bias![0]!),
        3,
      );
    }
  });

  it('does not go together with weights that are exchanged', async () => {
    await expect(load({ gate: 'stage1', updatable: true })).rejects.toThrow(
      'gate is given and updatable is true: weights that are exchanged would come without the gate. Leave one of them out.',
    );
  });
});

describe('the signal of fromPretrained', () => {
  it('ends the loading with its reason, wherever it is, and leaves no thread', async (context) => {
    const reason = new Error('enough');
    await (await load()).dispose();
    const before = numThreads();
    // embedding, readout, one program for each layer and one more
    for (let numPrograms = 0; numPrograms <= 5; numPrograms++) {
      const controller = new AbortController();
      let numDone = 0;
      const abortAt = () => numDone++ === numPrograms && controller.abort(reason);
      const loading = load({
        signal: controller.signal,
        onPlan: () => abortAt(),
        progress: ({ stage }) => stage === 'load' && abortAt(),
      });
      await expect(loading).rejects.toBe(reason);
      expect(numDone).toBe(numPrograms + 1);
    }
    if (before === undefined) context.skip('threads are counted in /proc only');
    expect(numThreads()).toBeLessThanOrEqual(before!);
  });

  it('ends a conversion, which the next loading continues', async () => {
    const options = { dtype: 'q8', convertedDir: folder } as const;
    const controller = new AbortController();
    const progress = () => controller.abort();
    const loading = load({ ...options, signal: controller.signal, progress });
    await expect(loading).rejects.toThrow(/aborted/);
    const model = await load(options);
    expect((await model.complete([1], BRIEF)).tokenIds).toHaveLength(3);
    await model.dispose();
  });

  it('that has aborted already begins nothing', async () => {
    const progress = () => expect.unreachable();
    const options = { signal: AbortSignal.abort('late'), progress, onPlan: progress };
    await expect(load(options)).rejects.toBe('late');
  });
});

it('loading tells its progress in bytes of weights, to the end', async () => {
  const shown: number[] = [];
  let total = 0;
  const model = await load({
    progress({ stage, doneBytes, totalBytes }) {
      expect(stage).toBe('load');
      shown.push(doneBytes);
      total = totalBytes;
    },
  });
  await model.dispose();
  expect(shown).toEqual(shown.toSorted((a, b) => a - b));
  expect(shown.at(-1)).toBe(total);
  expect(shown.length).toBeGreaterThan(3);
});

/** Configs that were parsed meanwhile. */
async function numConfigsParsed(work: () => Promise<unknown>): Promise<number> {
  const parse = vi.spyOn(JSON, 'parse');
  try {
    await work();
    const values = parse.mock.results.map(({ value }) => value as unknown);
    return values.filter((value) => Object.hasOwn(Object(value) as object, 'model_type')).length;
  } finally {
    parse.mockRestore();
  }
}

it('a config.json is parsed once on the way to a model', async () => {
  const options = { dtype: 'q8', convertedDir: folder } as const;
  const loaded = async (name: string, given: PretrainedOptions) => {
    const model = await openPretrained(name, { numThreads: 2, ...given }, LoopLM.load);
    await model.dispose();
  };
  await loaded(TINY, options);
  const [converted] = readdirSync(join(folder, 'converted'));
  expect(await numConfigsParsed(() => loaded(TINY, {}))).toBe(1);
  expect(await numConfigsParsed(() => loaded(join(folder, 'converted', converted!), {}))).toBe(1);
  // that of the checkpoint and that of the converted model
  expect(await numConfigsParsed(() => loaded(TINY, options))).toBe(2);
});

const bytesOf = ({ hidden, exitCdf, logits }: Trace) =>
  Buffer.concat([hidden, exitCdf, logits].map((array) => Buffer.from(array.buffer)));

describe('the signal of trace', () => {
  it('ends it at once, and the model computes on as if nothing had been', async () => {
    const model = await load();
    const ids = Array.from({ length: 300 }, (_, position) => position % 250);
    const shown: number[] = [];
    const whole = await model.trace(ids, { onProgress: (done) => shown.push(done) });
    expect(shown).toEqual(shown.toSorted((a, b) => a - b));
    expect(shown.at(-1)).toBe(2 * whole.numLoops * ids.length);
    for (const numShown of [1, 3, 6, 10]) {
      const controller = new AbortController();
      let seen = 0;
      const onProgress = () => ++seen === numShown && controller.abort();
      const traced = model.trace(ids, { signal: controller.signal, onProgress });
      await expect(traced).rejects.toThrow(/aborted/);
      expect(seen).toBe(numShown);
      expect(bytesOf(await model.trace(ids)).equals(bytesOf(whole))).toBe(true);
    }
    const signal = AbortSignal.abort();
    await expect(model.trace(ids, { signal })).rejects.toBe(signal.reason);
    await model.dispose();
  });
});

describe('a disposed model', () => {
  it('says which it is and what to do, in every call', async () => {
    const model = await load();
    await model.dispose();
    await model.dispose();
    const hello = [{ role: 'user', content: 'hello' }];
    const chatTemplate = new ChatTemplate('{{ messages }}');
    const calls = [
      () => model.complete([1]),
      () => model.generate([1]).next(),
      () => model.generateBatch([[1]]).next(),
      () => model.chat(hello, { chatTemplate }).next(),
      () => model.trace([1]),
      () => model.tracePieces([{ ids: [1], positions: [0] }]).next(),
    ];
    for (const call of calls) {
      await expect(call()).rejects.toThrow(DisposedError);
      await expect(call()).rejects.toThrow(
        `The model ${TINY} was used after dispose(); load it again, with LoopLM.fromPretrained or LoopLM.load.`,
      );
    }
  });

  it('ends what is under way with the same words', async () => {
    const model = await load();
    const long = { maxNewTokens: 400, ignoreEos: true };
    const generated = model.complete([1, 2], long);
    const traced = model.trace(Array.from({ length: 400 }, () => 1));
    const refused = [generated, traced].map((call) =>
      expect(call).rejects.toThrow(`The model ${TINY} was used after dispose()`),
    );
    await model.dispose();
    await Promise.all(refused);
  });
});
