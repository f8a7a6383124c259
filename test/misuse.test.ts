/**
 * Whatever the library is given by mistake, it answers with a result or with an error of its own, in
 * one sentence or two; never with a `TypeError` from within, and never not at all.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type * as Errors from '../src/errors.js';
import { LoopLMError } from '../src/errors.js';
import type * as Library from '../src/index.js';
import type { GenerateOptions } from '../src/loop-lm.js';
import { LoopLM } from '../src/loop-lm.js';
import { initializeWeights, memoryFolder, saveCheckpoint } from '../src/model/index.js';
import type * as Platform from '../src/platform/node/index.js';
import type { Device } from '../src/runtime/index.js';
import { createInlineDevice } from '../src/runtime/index.js';
import { CHATML_TEMPLATES, ChatTemplate, Tokenizer } from '../src/tokenizer/index.js';
import { SMALL_MODEL } from './engine/random-model.js';
import { PLAIN_TOKENIZER_FILES } from './bundled-copy.js';

const SEED = 20_261_128;

const folder = mkdtempSync(join(tmpdir(), 'looplm-misuse-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let device: Device;
let model: LoopLM;
const chatTemplate = new ChatTemplate(CHATML_TEMPLATES.corrected);
const files = memoryFolder('the model', new Map());
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const tokenizerJson = PLAIN_TOKENIZER_FILES['tokenizer.json'];
  const { vocabSize } = Tokenizer.fromJson(JSON.parse(tokenizerJson));
  const config = { ...SMALL_MODEL.config, vocabSize, maxPositionEmbeddings: 48, eosTokenIds: [0] };
  for (const [name, text] of Object.entries(PLAIN_TOKENIZER_FILES)) await files.write(name, text);
  await saveCheckpoint(files, config, initializeWeights(config, 5), { dtype: 'f32' });
  model = await LoopLM.load(files, { device });
});
afterAll(async () => {
  await model.dispose();
  await device.dispose();
});

const NEAR_MISSES: readonly unknown[] = [
  [undefined, null, Number.NaN, Infinity, -Infinity, -1, -0, 0, 0.5, 1, 2, 1e308, 2 ** 53],
  ['', ' ', 'x', '1', 'null', 'cdf:0', 'cdf:0.5', 'any(', 'q4', 'f32', 'i8', 'by-loop'],
  [true, false, [], [''], [[]], [-1], [1e9], {}, { name: 'x' }, { temperature: -1 }],
  [Symbol('a symbol'), () => 1, Math.max, 10n, new Date(Number.NaN), /x/, new Error('x')],
  [new AbortController(), AbortSignal.abort(), new Int32Array(3), Object.create(null)],
].flat(1);

/** Anything, and more often what comes near to something that is allowed. */
const junk: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
  fc.constantFrom(...NEAR_MISSES),
);

/** Every answer is a result or one of our errors, told in one line. */
async function expectAnswer(
  call: () => Promise<unknown>,
  Ours: typeof LoopLMError = LoopLMError,
): Promise<void> {
  try {
    expect(await call()).toBeDefined();
  } catch (error) {
    if (!(error instanceof Ours)) throw error;
    expect(error.message).toMatch(/^[^\n]{10,}[.)]$/);
    expect(error.message).not.toMatch(/Internal|\[object|undefined is not|Invalid input/);
  }
}

/** The first event; what would follow is not computed. */
async function first<T>(events: AsyncIterable<T>): Promise<T | undefined> {
  for await (const event of events) return event;
  return undefined;
}

const check = (property: fc.IAsyncProperty<unknown>, numRuns: number) =>
  fc.assert(property, { seed: SEED, numRuns });

const wordsOf = (text: string) => text.split(/\s+/);
const GENERATE_OPTIONS = wordsOf(
  `maxNewTokens exitPolicy minDepth maxDepth kvPolicy prefill numLoops sampling stopIds stopStrings
  ignoreEos splitReasoning record signal`,
);
const SAMPLING_OPTIONS = wordsOf('temperature topK topP minP repetitionPenalty seed');
const LOAD_OPTIONS = wordsOf(
  'device ownsDevice name parsedConfig kvDtype maxKvBytes onProgress other',
);
const PRETRAINED_OPTIONS = wordsOf(
  `device numThreads dtype revision offline kvDtype context numSequences kvPolicy progress
  onPlan onWait other`,
);

describe('a model that is used', () => {
  const brief = { maxNewTokens: 2 };

  it('with any value of any option', () =>
    check(
      fc.asyncProperty(fc.constantFrom(...GENERATE_OPTIONS), junk, (name, value) =>
        expectAnswer(() => model.complete('Where is the ball?', { ...brief, [name]: value })),
      ),
      600,
    ));

  it('with any values of several options, known or not', () => {
    const names = fc.oneof(fc.constantFrom(...GENERATE_OPTIONS), fc.string());
    const options = fc.dictionary(names, junk, { maxKeys: 4 });
    return check(
      fc.asyncProperty(options, (given) =>
        expectAnswer(() => model.complete('Where is the ball?', { ...brief, ...given })),
      ),
      300,
    );
  });

  it('with any options of sampling', () => {
    const names = fc.oneof(fc.constantFrom(...SAMPLING_OPTIONS), fc.string());
    const sampling = fc.dictionary(names, junk, { maxKeys: 3 });
    return check(
      fc.asyncProperty(sampling, (given) =>
        expectAnswer(() => model.complete('Where is the ball?', { ...brief, sampling: given })),
      ),
      300,
    );
  });

  it('with anything as prompt or as options', async () => {
    const prompts = fc.oneof(junk, fc.array(junk, { maxLength: 3 }));
    await check(
      fc.asyncProperty(prompts, junk, async (prompt, options) => {
        await expectAnswer(() => model.complete(prompt as string, brief));
        await expectAnswer(() => model.complete('Where is the ball?', options as GenerateOptions));
        await expectAnswer(() => first(model.generate(prompt as string, options as object)));
        await expectAnswer(() => first(model.generateBatch(prompt as string[], brief)));
        await expectAnswer(async () => model.encode(prompt as string));
      }),
      120,
    );
  });

  it('to chat about anything', () => {
    const message = fc.record({ role: junk, content: junk }, { requiredKeys: [] });
    const messages = fc.oneof(junk, fc.array(fc.oneof(junk, message), { maxLength: 3 }));
    const names = fc.constantFrom('chatTemplate', 'enableThinking', ...GENERATE_OPTIONS);
    return check(
      fc.asyncProperty(messages, names, junk, async (said, name, value) => {
        await expectAnswer(() => first(model.chat(said as [], { ...brief, chatTemplate })));
        const hello = [{ role: 'user', content: 'Where is the ball?' }];
        const options = { ...brief, chatTemplate, [name]: value };
        await expectAnswer(() => first(model.chat(hello, options)));
      }),
      300,
    );
  });

  it('to trace anything', () => {
    const names = fc.constantFrom('numLoops', 'signal', 'onProgress', 'other');
    return check(
      fc.asyncProperty(junk, names, junk, async (prompt, name, value) => {
        await expectAnswer(() => model.trace(prompt as string));
        const aborted = value instanceof AbortSignal && name === 'signal';
        const options = { [name]: value };
        if (!aborted) await expectAnswer(() => model.trace('Where is the ball?', options));
        await expectAnswer(() => model.trace('Where is the ball?', prompt as object));
      }),
      200,
    );
  });
});

describe('a model that is loaded', () => {
  const loadedAndDisposed = async (loading: Promise<{ dispose(): Promise<void> }>) => {
    await (await loading).dispose();
    return true;
  };

  it('from any folder with any options', () => {
    const names = fc.constantFrom(...LOAD_OPTIONS);
    return check(
      fc.asyncProperty(junk, names, junk, async (given, name, value) => {
        if (name === 'ownsDevice' && value === true) return; // the others need it
        await expectAnswer(() => loadedAndDisposed(LoopLM.load(given as never, { device })));
        await expectAnswer(() => loadedAndDisposed(LoopLM.load(files, given as never)));
        const options = { device, [name]: value };
        await expectAnswer(() => loadedAndDisposed(LoopLM.load(files, options)));
      }),
      150,
    );
  });

  it('by any name with any options', async () => {
    const built = (path: string) => new URL(`../dist/src/${path}`, import.meta.url).href;
    if (!existsSync(new URL(built('index.js')))) throw new Error('run `npm run build` first');
    const { LoopLMError: Ours } = (await import(built('errors.js'))) as typeof Errors;
    const { NODE_PLATFORM, openPretrained } = (await import(
      built('platform/node/index.js')
    )) as typeof Platform;
    const { LoopLM: Built } = (await import(built('index.js'))) as typeof Library;
    const platform = { ...NODE_PLATFORM, env: { LOOPLM_CACHE: folder, HF_HOME: folder } };
    const tiny = fileURLToPath(new URL('fixtures/tiny-mha', import.meta.url));
    const load = (name: unknown, options: unknown) =>
      loadedAndDisposed(openPretrained(name as string, options as object, Built.load, platform));
    const names = fc.constantFrom(...PRETRAINED_OPTIONS);
    await check(
      fc.asyncProperty(junk, names, junk, async (given, name, value) => {
        await expectAnswer(() => load(given, { offline: true }), Ours);
        await expectAnswer(() => load(tiny, { numThreads: 1, [name]: value }), Ours);
        if (given !== undefined) await expectAnswer(() => load(tiny, given), Ours);
      }),
      80,
    );
  });
});
