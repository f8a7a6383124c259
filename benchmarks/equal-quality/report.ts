/** The shape of the result file of `bench:equal-quality`, the goals, and the tables made of it. */
import { z } from 'zod';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import { percent, spread, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';
import { distributionSchema } from '../lib/statistics.js';

/** Bytes of a process. */
const memorySchema = z.object({
  resident: z.number(),
  /** Without pages of the weight file that decoding does not read. */
  inUse: z.number(),
});

const pairSchema = z.object({
  /** Models and formats. */
  looplm: z.string(),
  llama: z.string(),
  setup: z.string(),
  /** Time of the processors that went elsewhere, 0 to 1. */
  busyFraction: z.number(),
  /** Of a token. */
  llamaMs: distributionSchema,
  decode: z.array(
    z.object({
      kvPolicy: z.string(),
      meanDepth: z.number(),
      /** Means of a round's tokens. */
      ms: distributionSchema,
      speed: z.number(),
    }),
  ),
  prefill: z.object({
    llamaMs: distributionSchema,
    looplmMs: distributionSchema,
    speed: z.number(),
  }),
  memory: z.object({
    llama: memorySchema,
    looplm: memorySchema,
    /** looplm over llama.cpp, of what is in use. */
    share: z.number(),
  }),
  raw: z.record(z.string(), z.array(z.number()).readonly()),
});

export type PairResult = z.infer<typeof pairSchema>;

/** What `benchmarks/results/equal-quality.json` holds besides title and provenance. */
export const equalQualityFields = {
  roofs: roofsSchema,
  pairs: z.array(pairSchema),
  goals: z.array(goalSchema),
};

interface Result {
  readonly pairs: readonly PairResult[];
  readonly goals: readonly Goal[];
}

const GOAL_MEAN_DEPTH = 2.5;
const MIN_DECODE_SPEED = 1.2;
const MIN_PREFILL_SPEED = 1;
const MAX_MEMORY = 0.5;

/** The goals and what was reached. */
export function goalsOf(pairs: readonly PairResult[]): readonly Goal[] {
  return pairs.flatMap(({ looplm, llama, decode, prefill, memory }) => {
    const name = `${looplm} over ${llama}`;
    return [
      ...decode
        .filter(({ meanDepth }) => meanDepth === GOAL_MEAN_DEPTH)
        .map(({ kvPolicy, meanDepth, speed }) =>
          goal(
            `${name}, decode at mean depth ${meanDepth}, ${kvPolicy}`,
            { atLeast: MIN_DECODE_SPEED },
            [speed],
          ),
        ),
      goal(`${name}, prefill`, { atLeast: MIN_PREFILL_SPEED }, [prefill.speed]),
      goal(`${name}, memory`, { atMost: MAX_MEMORY }, [memory.share]),
    ];
  });
}

const LEVELS = 'least, lower quartile, median';

const perSecond = (milliseconds: number) => (1000 / milliseconds).toFixed(1);

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2);

/** The tables as Markdown. */
export function equalQualityText({ pairs, goals }: Result): string {
  const decode = table(
    [
      'models',
      'KV policy',
      'mean depth',
      `llama.cpp, ms a token: ${LEVELS}`,
      'looplm, ms a token',
      'llama.cpp, tokens/s',
      'looplm, tokens/s',
      'speed',
    ],
    pairs.flatMap((pair) =>
      pair.decode.map(({ kvPolicy, meanDepth, ms, speed }) => [
        `${pair.looplm} over ${pair.llama}`,
        kvPolicy,
        meanDepth.toFixed(1),
        spread(pair.llamaMs),
        spread(ms),
        perSecond(pair.llamaMs.p25),
        perSecond(ms.p25),
        times(speed),
      ]),
    ),
  );
  const rest = table(
    [
      'models',
      `llama.cpp prefill, ms: ${LEVELS}`,
      'looplm prefill, ms',
      'speed',
      'llama.cpp memory in use (resident), GB',
      'looplm memory in use (resident), GB',
      'share',
    ],
    pairs.map(({ looplm, llama, prefill, memory }) => {
      const memoryOf = ({ inUse, resident }: typeof memory.llama) =>
        `${gigabytes(inUse)} (${gigabytes(resident)})`;
      return [
        `${looplm} over ${llama}`,
        spread(prefill.llamaMs, 0),
        spread(prefill.looplmMs, 0),
        times(prefill.speed),
        memoryOf(memory.llama),
        memoryOf(memory.looplm),
        memory.share.toFixed(2),
      ];
    }),
  );
  const notes = pairs.map(
    ({ llama, setup, busyFraction }) =>
      `With ${llama}: ${setup}; while all waited, the processors were ${percent(busyFraction)} busy.`,
  );
  return [decode, rest, goalTable(goals), notes.join(' ')].join('\n\n');
}
