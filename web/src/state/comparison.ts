/** One prompt at two settings: where the answers differ, and how many loops each ran. */
import { differences } from './differences.js';
import { figuresOf } from './figures.js';
import type { Turn } from './state.js';
import type { Side } from './settings.js';

export interface Comparison {
  /** Indices into the tokens of each turn that only this turn has. */
  readonly only: Readonly<Record<Side, ReadonlySet<number>>>;
  /** Which token of the answers is the first that differs, from 1; undefined for equal answers. */
  readonly firstDifference: number | undefined;
  readonly loops: Readonly<Record<Side, Loops>>;
}

export interface Loops {
  readonly run: number;
  readonly full: number;
  /** Counted by the server, prompt included; otherwise those of the answer's tokens. */
  readonly hasPrompt: boolean;
}

/** Compares two turns that have ended. */
export function compareTurns(a: Turn, b: Turn, numLoops: number): Comparison {
  const [left, right] = [answerOf(a), answerOf(b)];
  const found = differences(
    left.map(({ text }) => text),
    right.map(({ text }) => text),
  );
  const shorter = Math.min(left.length, right.length);
  const place = left.findIndex(({ text }, index) => text !== right[index]?.text);
  const first = place < 0 ? shorter : place;
  return {
    only: {
      a: new Set([...found.a].map((index) => left[index]!.index)),
      b: new Set([...found.b].map((index) => right[index]!.index)),
    },
    firstDifference: found.a.size + found.b.size === 0 ? undefined : first + 1,
    loops: loopsOfBoth(a, b, numLoops),
  };
}

const answerOf = ({ tokens }: Turn) =>
  tokens
    .map(({ text, channel }, index) => ({ text, channel, index }))
    .filter(({ channel }) => channel !== 'prompt');

/** Both counted in the same way: by the server only if it counted both. */
function loopsOfBoth(a: Turn, b: Turn, numLoops: number): Record<Side, Loops> {
  const counted = (turn: Turn): Loops | undefined => {
    const { loopsRun = null, loopsSaved = null } = turn.usage ?? {};
    if (loopsRun === null || loopsSaved === null) return undefined;
    return { run: loopsRun, full: loopsRun + loopsSaved, hasPrompt: true };
  };
  const [left, right] = [counted(a), counted(b)];
  if (left && right) return { a: left, b: right };
  const summed = (turn: Turn): Loops => {
    const { loopsRun, numTokens } = figuresOf(turn, numLoops);
    return { run: loopsRun, full: numTokens * numLoops, hasPrompt: false };
  };
  return { a: summed(a), b: summed(b) };
}
