/** The shape of the result file, the goals, and the tables made of it. */
import { z } from 'zod';
import type { Goal } from '../lib/markdown.js';
import { goalSchema, goalTable, table, times } from '../lib/markdown.js';

const decodeSchema = z.object({
  context: z.number(),
  /** The fastest kind. */
  llamaAttention: z.string(),
  llamaMs: z.number(),
  looplmMs: z.number(),
  speed: z.number(),
  llamaBodyMs: z.number(),
  looplmBodyMs: z.number(),
  bodySpeed: z.number(),
  llamaShareOfMemory: z.number(),
  looplmShareOfMemory: z.number(),
});

const pairSchema = z.object({
  looplm: z.string(),
  llama: z.string(),
  setup: z.string(),
  /** What two threads that only read reach, best round. */
  gigabytesPerSecond: z.number(),
  /** Time of the processors that went elsewhere, 0 to 1. */
  busyFraction: z.number(),
  decode: z.array(decodeSchema),
  prefill: z.object({
    llamaTokensPerSecond: z.number(),
    looplmTokensPerSecond: z.number(),
    speed: z.number(),
  }),
  raw: z.record(z.string(), z.array(z.number()).readonly()),
});

/** What `benchmarks/results/llama-cpp.json` holds besides title and provenance. */
export const llamaCppFields = { pairs: z.array(pairSchema), goals: z.array(goalSchema) };

export type PairResult = z.infer<typeof pairSchema>;

interface Result {
  readonly pairs: readonly PairResult[];
  readonly goals: readonly Goal[];
}

const MIN_DECODE_SPEED = 1;
const MIN_PREFILL_SPEED = 2;
const MIN_SHARE_OF_MEMORY = 0.8;

/** The goals and what was reached. */
export function goalsOf(pairs: readonly PairResult[]): readonly Goal[] {
  return pairs.flatMap(({ looplm, decode, prefill }) => [
    ...decode.map(({ context, speed }) => ({
      name: `${looplm} decode at ${context} over llama.cpp`,
      atLeast: MIN_DECODE_SPEED,
      value: speed,
    })),
    ...(looplm === 'q8'
      ? [
          {
            name: 'q8 prefill over llama.cpp',
            atLeast: MIN_PREFILL_SPEED,
            value: prefill.speed,
          },
        ]
      : decode.map(({ context, looplmShareOfMemory }) => ({
          name: `${looplm} decode at ${context}, share of the memory's read rate`,
          atLeast: MIN_SHARE_OF_MEMORY,
          value: looplmShareOfMemory,
        }))),
  ]);
}

const share = (value: number) => `${(100 * value).toFixed(0)} %`;

function decodeRows({ looplm, llama, decode }: PairResult): string[][] {
  return decode.map((entry) => [
    `${looplm} against ${llama}`,
    String(entry.context),
    entry.llamaAttention,
    entry.llamaMs.toFixed(1),
    entry.looplmMs.toFixed(1),
    times(entry.speed),
    entry.llamaBodyMs.toFixed(1),
    entry.looplmBodyMs.toFixed(1),
    times(entry.bodySpeed),
    share(entry.llamaShareOfMemory),
    share(entry.looplmShareOfMemory),
  ]);
}

/** The tables as Markdown. */
export function reportText({ pairs, goals }: Result): string {
  const decode = table(
    [
      'formats',
      'context',
      'llama.cpp attends by',
      'llama.cpp, ms a token',
      'looplm depth 1, ms a token',
      'speed',
      'llama.cpp body, ms',
      'looplm body, ms',
      'speed',
      'llama.cpp, share of memory rate',
      'looplm, share of memory rate',
    ],
    pairs.flatMap(decodeRows),
  );
  const prefill = table(
    ['formats', 'llama.cpp, tokens/s', 'looplm depth 1, tokens/s', 'speed', 'memory, GB/s'],
    pairs.map((pair) => [
      `${pair.looplm} against ${pair.llama}`,
      pair.prefill.llamaTokensPerSecond.toFixed(0),
      pair.prefill.looplmTokensPerSecond.toFixed(0),
      times(pair.prefill.speed),
      pair.gigabytesPerSecond.toFixed(1),
    ]),
  );
  const notes = pairs.map(
    ({ llama, setup, busyFraction }) =>
      `With ${llama}: ${setup}; while all waited, the processors were ${share(busyFraction)} busy.`,
  );
  return [decode, prefill, goalTable(goals), notes.join(' ')].join('\n\n');
}
