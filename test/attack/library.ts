/**
 * The library with arguments that no type allows: every call gives a result or a `LoopLMError`, and the
 * model answers afterwards as it did before.
 */
import { pathToFileURL } from 'node:url';
import type * as looplm from '../../src/index.js';
import type { ChatMessage, LoopLM } from '../../src/index.js';
import type * as node from '../../src/platform/node/index.js';
import { repositoryPath } from '../repository.js';
import { Draw } from '../draw.js';
import { rawTraces } from './judge.js';
import { HUGE_TEXT, ODD_JSON, ODD_TEXTS } from './odd-values.js';
import { PROBLEM } from './place.js';

/** As compiled: the worker of a device exists only there. */
type Library = typeof looplm & Pick<typeof node, 'openPretrained'>;

const load = async <T>(path: string): Promise<T> =>
  (await import(pathToFileURL(repositoryPath(path)).href)) as T;

class OwnError extends Error {}

function cyclic(): object {
  const value: Record<string, unknown> = {};
  value['self'] = value;
  return value;
}

/** Values of no JSON, made anew. */
const ODD_VALUES: readonly (() => unknown)[] = [
  () => HUGE_TEXT,
  () => undefined,
  () => Number.NaN,
  () => Infinity,
  () => 10n,
  () => Symbol('s'),
  () => () => 1,
  () => new Date(0),
  () => new Map([['a', 1]]),
  () => new Float32Array(3),
  () => new Uint8Array(0),
  () => Object.create(null) as unknown,
  () => [undefined],
  () => [Number.NaN],
  () => Array.from({ length: 3 }),
  () => ({ length: 5 }),
  cyclic,
  () => ({
    get maxNewTokens(): never {
      throw new OwnError('of the caller');
    },
  }),
];

function oddValue(draw: Draw): unknown {
  if (draw.oneIn(2)) return draw.pick(ODD_VALUES)();
  return draw.oneIn(2) ? draw.pick(ODD_TEXTS) : structuredClone(draw.pick(ODD_JSON));
}

/** A call with arguments that are made anew. */
interface Call {
  readonly name: string;
  args(): unknown[];
  run(...args: readonly never[]): unknown;
}

const call = <T extends unknown[]>(
  name: string,
  args: () => [...T],
  run: (...given: T) => unknown,
): Call => ({ name, args: () => [...args()], run });

const options = () => ({
  maxNewTokens: 2,
  exitPolicy: 'cdf:0.5',
  minDepth: 1,
  maxDepth: 3,
  kvPolicy: 'per-loop' as const,
  prefill: 'full' as const,
  numLoops: 4,
  sampling: { temperature: 0.5, topK: 4, topP: 0.9, minP: 0.1, repetitionPenalty: 1.1, seed: 3 },
  stopIds: [3],
  stopStrings: ['x'],
  ignoreEos: false,
  splitReasoning: true,
  record: true,
});

async function drain(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of events);
}

function callsOf(library: Library, model: LoopLM): readonly Call[] {
  const { ChatTemplate, Tokenizer } = library;
  const messages = (): ChatMessage[] => [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Start with 4. Add 3. What is the result?' },
  ];
  const template = '{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}';
  const chatTemplate = new ChatTemplate(template);
  return [
    call(
      'complete',
      () => [PROBLEM, options()],
      (prompt, more) => model.complete(prompt, more),
    ),
    call(
      'complete ids',
      () => [[5, 9, 2], options()],
      (ids, more) => model.complete(ids, more),
    ),
    call(
      'generate',
      () => [PROBLEM, options()],
      (prompt, more) => drain(model.generate(prompt, more)),
    ),
    call(
      'generateBatch',
      () => [[PROBLEM, [5, 9]], options()],
      (prompts, more) => drain(model.generateBatch(prompts, more)),
    ),
    call(
      'chat',
      () => [messages(), { ...options(), chatTemplate, enableThinking: false }],
      (all, more) => drain(model.chat(all, more)),
    ),
    call(
      'trace',
      () => [[5, 9, 2], { numLoops: 2 }],
      (prompt, more) => model.trace(prompt, more),
    ),
    call(
      'encode',
      () => [PROBLEM],
      (prompt) => model.encode(prompt),
    ),
    call(
      'fromPretrained',
      () => [repositoryPath('test/fixtures/tiny-mha'), loading()],
      async (path, more) => {
        const other = await library.openPretrained(path, more, library.LoopLM.load);
        await other.dispose();
      },
    ),
    call(
      'ChatTemplate',
      () => [template, { bosToken: '<s>' }, messages(), { addGenerationPrompt: true }],
      (source, tokens, all, more) => new ChatTemplate(source, tokens).apply(all, more),
    ),
    call(
      'Tokenizer.fromJson',
      () => [{ version: '1.0', model: { type: 'BPE', vocab: { a: 0 }, merges: [] } }],
      (json) => Tokenizer.fromJson(json),
    ),
    call(
      'parseExitPolicy',
      () => ['any(cdf:0.5,fixed:2)'],
      (text) => library.parseExitPolicy(text),
    ),
    call(
      'fixedDepth',
      () => [2],
      (depth) => library.fixedDepth(depth),
    ),
    call(
      'cdfThreshold',
      () => [0.5],
      (q) => library.cdfThreshold(q),
    ),
    call(
      'replay',
      () => [[1, 2]],
      (depths) => library.replay(depths),
    ),
    call(
      'anyOf',
      () => [library.fullDepth(), library.fixedDepth(2)],
      (a, b) => library.anyOf(a, b),
    ),
    call(
      'parseRollout',
      () => [{ promptIds: [1], tokenIds: [2], exitDepths: [1] }],
      (json) => library.parseRollout(json),
    ),
    call(
      'modelCost',
      () => [{ context: 8, weights: 'f32' as const, cacheDtype: 'f32' as const }],
      (more) => library.modelCost(model.config, more),
    ),
  ];
}

const loading = () => ({
  dtype: 'f32' as const,
  numThreads: 1,
  kvDtype: 'f32' as const,
  context: 64,
  numSequences: 1,
  kvPolicy: 'per-loop' as const,
  offline: true,
  revision: 'main',
  progress: () => {},
  onPlan: () => {},
});

/** Sets a field; some, such as the entries of a typed array, do not take every value. */
function setAnyway(holder: object, key: string, value: unknown): void {
  try {
    Reflect.set(holder, key, value);
  } catch {
    // then it stays
  }
}

/** Replaces an argument, or something inside one, once to three times. */
function spoil(args: unknown[], draw: Draw): string {
  const told: string[] = [];
  for (let left = 1 + draw.below(2); left > 0; left--) {
    const at = draw.below(args.length);
    const argument = args[at];
    const isDeep = typeof argument === 'object' && argument !== null && !draw.oneIn(4);
    const value = oddValue(draw);
    if (!isDeep) {
      args[at] = value;
      told.push(`argument ${at}`);
      continue;
    }
    const holder = argument as Record<string, unknown>;
    const key = draw.oneIn(8) ? 'unknownName' : draw.pick(['a', ...Object.keys(holder)]);
    const inner = Object.getOwnPropertyDescriptor(holder, key)?.value as unknown;
    if (typeof inner === 'object' && inner !== null && draw.oneIn(2)) {
      const names = Object.keys(inner);
      setAnyway(inner, names.length > 0 ? draw.pick(names) : 'a', value);
    } else {
      setAnyway(holder, key, value);
    }
    told.push(`argument ${at}, ${key}`);
  }
  return told.join('; ');
}

export interface LibraryOutcome {
  readonly name: string;
  readonly story: string;
  readonly end: string;
  readonly faults: readonly string[];
}

let opened: Promise<{ library: Library; model: LoopLM; expected: string }> | undefined;

async function open() {
  const { openPretrained } = await load<typeof node>('dist/src/platform/node/index.js');
  const library: Library = { ...(await load<typeof looplm>('dist/src/index.js')), openPretrained };
  const model = await openPretrained(repositoryPath('models/bundled'), {}, library.LoopLM.load);
  return { library, model, expected: await answerOf(model) };
}

async function answerOf(model: LoopLM): Promise<string> {
  const { tokenIds, exitDepths } = await model.complete(PROBLEM, { maxNewTokens: 3 });
  return JSON.stringify([tokenIds, exitDepths]);
}

/** Plays one call with spoilt arguments. */
export async function attackLibrary(
  seed: number,
  index: number,
  onDrawn: (details: string) => void = () => {},
): Promise<LibraryOutcome> {
  const { library, model, expected } = await (opened ??= open());
  const draw = new Draw(seed, index, 1);
  const { name, args, run } = draw.pick(callsOf(library, model));
  const given = args();
  const story = spoil(given, draw);
  onDrawn(`${name}: ${story}`);
  const faults: string[] = [];
  let end = 'a result';
  try {
    await run(...(given as never[]));
  } catch (error) {
    end = String(error);
    if (!(error instanceof OwnError)) faults.push(...faultsOfError(error, library));
  }
  if ((await answerOf(model)) !== expected) faults.push('the model answers otherwise afterwards');
  return { name, story, end, faults };
}

function faultsOfError(error: unknown, library: Library): string[] {
  if (!(error instanceof library.LoopLMError)) {
    return [
      `no LoopLMError: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    ];
  }
  const faults = rawTraces(error.message);
  if (error.message.includes('\n')) faults.push('a message of several lines');
  if (error.message.trim() === '') faults.push('an empty message');
  return faults;
}

/** Frees the model. */
export async function closeLibrary(): Promise<void> {
  await (await opened)?.model.dispose();
  opened = undefined;
}
