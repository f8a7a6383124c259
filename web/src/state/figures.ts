/**
 * Figures of answers: depths, loops, speed, and how they run along the tokens.
 *
 * Prompts are left out: the figures are of what the model wrote.
 */
import type { Token } from '../api/token.js';
import type { Turn } from './state.js';

/** A token whose depth is known. */
type DeepToken = Token & { readonly exitDepth: number };

/** Tokens that the model wrote, those with a depth. */
export function writtenTokens({ tokens }: Pick<Turn, 'tokens'>): readonly DeepToken[] {
  return tokens.filter(
    (token): token is DeepToken => token.channel !== 'prompt' && token.exitDepth !== null,
  );
}

export interface TurnFigures {
  readonly numTokens: number;
  /** NaN without a token. */
  readonly meanDepth: number;
  /** Loops of the written tokens, each as deep as it went. */
  readonly loopsRun: number;
  /** Of the loops that full depth would have run, 0 to 1; NaN without a token. */
  readonly savedFraction: number;
  /** From the request to the last token; NaN without a token. */
  readonly tokensPerSecond: number;
}

export function figuresOf(turn: Pick<Turn, 'tokens'>, numLoops: number): TurnFigures {
  const tokens = writtenTokens(turn);
  const loopsRun = tokens.reduce((sum, { exitDepth }) => sum + exitDepth, 0);
  return {
    numTokens: tokens.length,
    meanDepth: loopsRun / tokens.length,
    loopsRun,
    savedFraction: 1 - loopsRun / (tokens.length * numLoops),
    tokensPerSecond: rate(tokens.length, tokens.at(-1)?.atMs ?? NaN),
  };
}

const rate = (count: number, milliseconds: number) =>
  milliseconds > 0 ? (1e3 * count) / milliseconds : NaN;

/** How many tokens exited at each depth; entry n belongs to depth n + 1. */
export function depthCounts(tokens: readonly Token[], numLoops: number): readonly number[] {
  const counts = new Array<number>(numLoops).fill(0);
  for (const { exitDepth } of tokens) {
    if (exitDepth !== null && exitDepth <= numLoops) counts[exitDepth - 1]! += 1;
  }
  return counts;
}

/** Figures along the written tokens of some turns, one entry for each token. */
export interface Course {
  readonly meanDepth: readonly number[];
  readonly savedFraction: readonly number[];
  /** Of the tokens that the figures of this one reach back to, or since the request. */
  readonly tokensPerSecond: readonly number[];
}

/** How many tokens back the figures of a token reach. */
const WINDOW = 16;

export function courseOf(turns: readonly Pick<Turn, 'tokens'>[], numLoops: number): Course {
  const depths: number[] = [];
  const meanDepth: number[] = [];
  const tokensPerSecond: number[] = [];
  let sum = 0;
  for (const turn of turns) {
    const tokens = writtenTokens(turn);
    for (const [index, { exitDepth, atMs }] of tokens.entries()) {
      depths.push(exitDepth);
      sum += exitDepth - (depths[depths.length - 1 - WINDOW] ?? 0);
      meanDepth.push(sum / Math.min(WINDOW, depths.length));
      const before = tokens[index - WINDOW]?.atMs ?? 0;
      tokensPerSecond.push(rate(Math.min(WINDOW, index + 1), atMs - before));
    }
  }
  const savedFraction = meanDepth.map((depth) => 1 - depth / numLoops);
  return { meanDepth, savedFraction, tokensPerSecond };
}

/** The probability that the gate has stopped a token by each loop: 1 - product of (1 - exitProb). */
export function exitCdf(exitProbs: readonly (number | null)[]): readonly number[] {
  let survival = 1;
  return exitProbs.map((exitProb) => {
    survival *= 1 - (exitProb ?? 0);
    return 1 - survival;
  });
}
