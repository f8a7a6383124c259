/**
 * Self-speculation on a model of random weights, whose own guesses are worth nothing: tokens are forced,
 * and what a guess is told of them is wrong as often as is asked.
 */
import type { Engine, GenerationRequest, Speculation } from 'looplm/engine';
import { parseSamplingOptions } from 'looplm/engine';
import { NUM_LOOPS } from '../depth/schedule.js';

/** How often guesses are right. */
export const ACCEPTANCES = [0.5, 0.65, 0.8, 0.95];
/** Depths at which tokens are guessed. */
export const GUESS_DEPTHS = [1, 2, 3];
/** Tokens of a run that are timed. */
export const NUM_GUESSED_TOKENS = 20;

const GOLDEN_RATIO = 0.618034;

/**
 * Every token runs all loops; each is forced, and guesses of a share of them, evenly spread, are right.
 * The policy is what sees how deep a token is when the engine asks for the one that follows.
 */
export function replayedGuesses(
  ids: readonly number[],
  numLoops: number,
  share: number,
): Pick<GenerationRequest, 'exitPolicy' | 'forcedIds'> {
  const depths = ids.map(() => numLoops);
  const forcedIds = [...ids];
  for (const [n, id] of ids.entries()) {
    const isRight = (n * GOLDEN_RATIO) % 1 < share;
    const wrongId = id === 0 ? 1 : id - 1;
    const get = () => (isRight || depths[n] === numLoops ? id : wrongId);
    Object.defineProperty(forcedIds, n, { get });
  }
  return {
    forcedIds,
    exitPolicy: {
      name: 'full',
      needs: { gate: false, logits: false, hidden: false },
      deepestDepth: 1,
      start({ tokenIndex }) {
        return ({ depth }) => {
          depths[tokenIndex] = depth;
          return false;
        };
      },
    },
  };
}

/** Steps of a token with guesses over those without: docs/math.md#self-speculation. */
export function stepsSaved(depth: number, share: number, exitDepth: number = NUM_LOOPS): number {
  return exitDepth / (depth + (1 - share) * (exitDepth - depth));
}

/** Seconds a token, at full depth under `per-loop`. @param promptIds - computed before */
export async function timeGuesses(
  engine: Engine,
  promptIds: readonly number[],
  share: number,
  speculation: Speculation,
): Promise<number> {
  const ids = promptIds.slice(0, NUM_GUESSED_TOKENS + 1);
  const request = {
    promptIds,
    maxNewTokens: ids.length,
    ...replayedGuesses(ids, NUM_LOOPS, share),
    sampling: parseSamplingOptions({}),
    prefill: 'full' as const,
    speculation,
  };
  let [start, end] = [0, 0];
  for await (const event of engine.generate([request])) {
    if (event.kind !== 'token') continue;
    end = performance.now();
    if (event.tokenIndex === 0) start = end;
  }
  return (end - start) / 1000 / NUM_GUESSED_TOKENS;
}
