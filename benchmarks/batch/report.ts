/** The shape of the result file of `bench:batch`, the goals, and the tables made of it. */
import { z } from 'zod';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import { percent, table, times } from '../lib/markdown.js';
import { roofsSchema } from '../lib/roofs.js';

const streamsSchema = z.object({
  streams: z.number(),
  way: z.string(),
  /** Of the readouts. */
  meanDepth: z.number(),
  /** Loops run of a token, deferred ones included. */
  meanLoops: z.number(),
  tokensPerSecond: z.number(),
  /** Over full depth with as many streams. */
  speedUp: z.number(),
  /** Of R / mean loops. */
  shareOfIdeal: z.number(),
  /** The same of the time without readouts. */
  loopsShareOfIdeal: z.number(),
  overNaive: z.number(),
});

const guessesSchema = z.object({
  depth: z.number(),
  /** How many guesses are right, 0 to 1. */
  acceptance: z.number(),
  tokenMs: z.number(),
  speedUp: z.number(),
  /** Steps without guesses over steps with them. */
  stepsSaved: z.number(),
});

const bundledSchema = z.object({ streams: z.number(), tokensPerSecond: z.number() });

const bundledGuessesSchema = z.object({
  exits: z.string(),
  speculation: z.string(),
  tokensPerSecond: z.number(),
  speedUp: z.number(),
  drafted: z.number(),
  accepted: z.number(),
  stepsPerToken: z.number(),
});

/** What `benchmarks/results/batch.json` holds besides title and provenance. */
export const batchFields = {
  roofs: roofsSchema,
  model: z.string(),
  /** Time of the processors that went elsewhere, 0 to 1. */
  busyFraction: z.number(),
  streams: z.array(streamsSchema),
  guesses: z.array(guessesSchema),
  bundledStreams: z.array(bundledSchema),
  bundledGuesses: z.array(bundledGuessesSchema),
  goals: z.array(goalSchema),
};

export type StreamsEntry = z.infer<typeof streamsSchema>;
export type GuessesEntry = z.infer<typeof guessesSchema>;
export type BundledGuessesEntry = z.infer<typeof bundledGuessesSchema>;

interface Result {
  readonly model: string;
  readonly busyFraction: number;
  readonly streams: readonly StreamsEntry[];
  readonly guesses: readonly GuessesEntry[];
  readonly bundledStreams: readonly z.infer<typeof bundledSchema>[];
  readonly bundledGuesses: readonly BundledGuessesEntry[];
  readonly goals: readonly Goal[];
}

/** Streams for which the goals are. */
const GOAL_STREAMS = 8;
const MIN_SHARE = 0.95;
const MIN_OVER_NAIVE = 1.3;
const MIN_GUESSING_SPEED_UP = 1.5;

export function goalsOf({
  streams,
  bundledGuesses,
}: Pick<Result, 'streams' | 'bundledGuesses'>): readonly Goal[] {
  const policies = ['last-exited', 'per-loop'];
  const of = (policy: string) =>
    streams.filter((entry) => entry.streams === GOAL_STREAMS && entry.way === policy);
  const exits = [...new Set(bundledGuesses.map((entry) => entry.exits))];
  return [
    ...policies.map((policy) =>
      goal(
        `${policy}, ${GOAL_STREAMS} streams, share of R / mean loops over full depth`,
        { atLeast: MIN_SHARE },
        of(policy).map(({ shareOfIdeal }) => shareOfIdeal),
      ),
    ),
    ...policies.map((policy) =>
      goal(
        `${policy}, ${GOAL_STREAMS} streams, over the naive way`,
        { atLeast: MIN_OVER_NAIVE },
        of(policy).map(({ overNaive }) => overNaive),
      ),
    ),
    ...exits.map((name) =>
      goal(
        `bundled model, exits ${name}, one stream, speculation auto over off`,
        { atLeast: MIN_GUESSING_SPEED_UP },
        bundledGuesses
          .filter((entry) => entry.exits === name && entry.speculation === 'auto')
          .map(({ speedUp }) => speedUp),
      ),
    ),
  ];
}

/** The tables as Markdown. */
export function batchText(result: Result): string {
  const { model, busyFraction, goals } = result;
  return [
    `Random weights, ${model}; keys and values in i8. Between runs the processors were ${percent(busyFraction)} busy.`,
    streamsTable(result),
    'Guesses on the same model, one stream at full depth under `per-loop`, right as often as was asked:',
    guessesTable(result),
    'The bundled model, under its own exit policy, prompts included:',
    bundledTable(result),
    'Its own guesses, one stream; all give the same tokens, depths and log-probabilities:',
    bundledGuessesTable(result),
    goalTable(goals),
  ].join('\n\n');
}

function streamsTable({ streams }: Result): string {
  return table(
    [
      'streams',
      'exits',
      'mean depth',
      'mean loops run',
      'tokens/s',
      'over full depth',
      'share of R / mean loops',
      'of the loops alone',
      'over the naive way',
    ],
    streams.map((entry) => [
      String(entry.streams),
      entry.way,
      entry.meanDepth.toFixed(2),
      entry.meanLoops.toFixed(2),
      entry.tokensPerSecond.toFixed(2),
      times(entry.speedUp),
      percent(entry.shareOfIdeal),
      percent(entry.loopsShareOfIdeal),
      times(entry.overNaive),
    ]),
  );
}

function guessesTable({ guesses }: Result): string {
  return table(
    ['guessed at depth', 'right', 'ms a token', 'over no guesses', 'steps saved', 'pays'],
    guesses.map(({ depth, acceptance, tokenMs, speedUp, stepsSaved }) => [
      String(depth),
      percent(acceptance),
      tokenMs.toFixed(0),
      times(speedUp),
      times(stepsSaved),
      speedUp > 1 ? 'yes' : 'no',
    ]),
  );
}

function bundledTable({ bundledStreams }: Result): string {
  return table(
    ['calls at once', 'tokens/s'],
    bundledStreams.map(({ streams, tokensPerSecond }) => [
      String(streams),
      tokensPerSecond.toFixed(0),
    ]),
  );
}

function bundledGuessesTable({ bundledGuesses }: Result): string {
  return table(
    ['exits', 'speculation', 'tokens/s', 'speed-up', 'guesses', 'of them kept', 'steps a token'],
    bundledGuesses.map((entry) => [
      entry.exits,
      entry.speculation,
      entry.tokensPerSecond.toFixed(0),
      times(entry.speedUp),
      String(entry.drafted),
      entry.drafted === 0 ? '' : percent(entry.accepted / entry.drafted),
      entry.stepsPerToken.toFixed(2),
    ]),
  );
}
