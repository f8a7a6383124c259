/** The shape of the result file, the goals, and the tables made of it. */
import { z } from 'zod';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import { percent, spread, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';
import { distributionSchema } from '../lib/statistics.js';

const decodeSchema = z.object({
  context: z.number(),
  /** The fastest kind. */
  llamaAttention: z.string(),
  /** Of all tokens of all rounds. */
  llamaMs: distributionSchema,
  looplmMs: distributionSchema,
  /** looplm over llama.cpp: least by least, and so on. */
  speed: distributionSchema,
  /** Lower quartiles. */
  llamaBodyMs: z.number(),
  looplmBodyMs: z.number(),
  bodySpeed: z.number(),
  /** Medians over rounds, of the rate in the same round. */
  llamaShareOfMemory: z.number(),
  looplmShareOfMemory: z.number(),
});

const pairSchema = z.object({
  looplm: z.string(),
  llama: z.string(),
  setup: z.string(),
  /** Time of the processors that went elsewhere, 0 to 1. */
  busyFraction: z.number(),
  decode: z.array(decodeSchema),
  prefill: z.object({
    llamaMs: distributionSchema,
    looplmMs: distributionSchema,
    speed: distributionSchema,
    /** Of float32 products in the same round; small integers can do more. */
    llamaShareOfProducts: z.number(),
    looplmShareOfProducts: z.number(),
  }),
  /** By round. */
  raw: z.record(z.string(), z.array(z.number()).readonly()),
  /** By token, all rounds in a row. */
  times: z.record(z.string(), z.array(z.number()).readonly()),
});

/** What `benchmarks/results/llama-cpp.json` holds besides title and provenance. */
export const llamaCppFields = {
  roofs: roofsSchema,
  pairs: z.array(pairSchema),
  goals: z.array(goalSchema),
};

export type PairResult = z.infer<typeof pairSchema>;

interface Result {
  readonly pairs: readonly PairResult[];
  readonly goals: readonly Goal[];
}

const MIN_DECODE_SPEED = 1;
const MIN_PREFILL_SPEED = 2;
const MIN_SHARE_OF_MEMORY = 0.8;

/** The goals and what was reached; speeds by lower quartiles. */
export function goalsOf(pairs: readonly PairResult[]): readonly Goal[] {
  return pairs.flatMap(({ looplm, decode, prefill }) => [
    ...decode.map(({ context, speed }) =>
      goal(`${looplm} decode at ${context} over llama.cpp`, { atLeast: MIN_DECODE_SPEED }, [
        speed.p25,
      ]),
    ),
    ...(looplm === 'q8'
      ? [goal('q8 prefill over llama.cpp', { atLeast: MIN_PREFILL_SPEED }, [prefill.speed.p25])]
      : decode.map(({ context, looplmShareOfMemory }) =>
          goal(
            `${looplm} decode at ${context}, share of the memory's read rate`,
            { atLeast: MIN_SHARE_OF_MEMORY },
            [looplmShareOfMemory],
          ),
        )),
  ]);
}

const LEVELS = 'least, lower quartile, median';

/** Ratios of two distributions, level by level. */
const speeds = ({ min, p25, p50 }: PairResult['prefill']['speed']) =>
  [min, p25, p50].map(times).join(', ');

function decodeRows({ looplm, llama, decode }: PairResult): string[][] {
  return decode.map((entry) => [
    `${looplm} against ${llama}`,
    String(entry.context),
    entry.llamaAttention,
    spread(entry.llamaMs),
    spread(entry.looplmMs),
    speeds(entry.speed),
    entry.llamaBodyMs.toFixed(1),
    entry.looplmBodyMs.toFixed(1),
    times(entry.bodySpeed),
    percent(entry.llamaShareOfMemory),
    percent(entry.looplmShareOfMemory),
  ]);
}

/** The tables as Markdown. */
export function reportText({ pairs, goals }: Result): string {
  const decode = table(
    [
      'formats',
      'context',
      'llama.cpp attends by',
      `llama.cpp, ms a token: ${LEVELS}`,
      'looplm depth 1, ms a token',
      'speed',
      'llama.cpp body, ms (lower quartile)',
      'looplm body, ms',
      'speed',
      'llama.cpp, of the memory rate',
      'looplm, of the memory rate',
    ],
    pairs.flatMap(decodeRows),
  );
  const prefill = table(
    [
      'formats',
      `llama.cpp prefill, ms: ${LEVELS}`,
      'looplm depth 1, ms',
      'speed',
      'llama.cpp, of f32 products',
      'looplm, of f32 products',
    ],
    pairs.map(({ looplm, llama, prefill: measured }) => [
      `${looplm} against ${llama}`,
      spread(measured.llamaMs, 0),
      spread(measured.looplmMs, 0),
      speeds(measured.speed),
      percent(measured.llamaShareOfProducts),
      percent(measured.looplmShareOfProducts),
    ]),
  );
  const notes = pairs.map(
    ({ llama, setup, busyFraction }) =>
      `With ${llama}: ${setup}; while all waited, the processors were ${percent(busyFraction)} busy.`,
  );
  return [decode, prefill, goalTable(goals), notes.join(' ')].join('\n\n');
}
