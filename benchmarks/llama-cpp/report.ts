/** The shape of the result file, the goals, and the tables made of it. */
import { z } from 'zod';

const decodeSchema = z.object({
  context: z.number(),
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

const goalSchema = z.object({ name: z.string(), goal: z.number(), value: z.number() });

/** What `benchmarks/results/llama-cpp.json` holds besides title and provenance. */
export const llamaCppFields = { pairs: z.array(pairSchema), goals: z.array(goalSchema) };

export type PairResult = z.infer<typeof pairSchema>;
type Goal = z.infer<typeof goalSchema>;

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
      goal: MIN_DECODE_SPEED,
      value: speed,
    })),
    ...(looplm === 'q8'
      ? [
          {
            name: 'q8 prefill over llama.cpp',
            goal: MIN_PREFILL_SPEED,
            value: prefill.speed,
          },
        ]
      : decode.map(({ context, looplmShareOfMemory }) => ({
          name: `${looplm} decode at ${context}, share of the memory's read rate`,
          goal: MIN_SHARE_OF_MEMORY,
          value: looplmShareOfMemory,
        }))),
  ]);
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

const times = (value: number) => `${value.toFixed(2)} x`;
const share = (value: number) => `${(100 * value).toFixed(0)} %`;

function decodeRows({ looplm, llama, decode }: PairResult): string[][] {
  return decode.map((entry) => [
    `${looplm} against ${llama}`,
    String(entry.context),
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
  const goalTable = table(
    ['goal', 'at least', 'reached', ''],
    goals.map(({ name, goal, value }) => [
      name,
      goal.toFixed(2),
      value.toFixed(2),
      value >= goal ? 'met' : 'missed',
    ]),
  );
  const notes = pairs.map(
    ({ llama, setup, busyFraction }) =>
      `With ${llama}: ${setup}; while all waited, the processors were ${share(busyFraction)} busy.`,
  );
  return [decode, prefill, goalTable, notes.join(' ')].join('\n\n');
}
