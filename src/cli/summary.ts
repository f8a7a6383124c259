/**
 * The closing line of a generation: how many tokens, how deep, what was saved, how fast.
 */
import type { TextFinishEvent } from '../loop-lm.js';

export interface GenerationSummary extends Pick<
  TextFinishEvent,
  'meanDepth' | 'executedLoops' | 'fullDepthLoops'
> {
  readonly numTokens: number;
  readonly numLoops: number;
  /** Time of the whole run, prompt included. */
  readonly seconds: number;
}

/** One line, without its end. */
export function closingLine(summary: GenerationSummary): string {
  const { numTokens, meanDepth, numLoops, executedLoops, fullDepthLoops, seconds } = summary;
  return [
    `${numTokens} ${numTokens === 1 ? 'token' : 'tokens'}`,
    `mean depth ${meanDepth.toFixed(2)} of ${numLoops}`,
    loopsSaved(executedLoops, fullDepthLoops),
    `${(numTokens / Math.max(seconds, 1e-9)).toFixed(1)} tokens/s`,
  ].join(', ');
}

/** What early exit saved, such as `41 % of loops saved (60 of 102 run, prompt included)`. */
export function loopsSaved(executedLoops: number, fullDepthLoops: number): string {
  const saved = fullDepthLoops === 0 ? 0 : 1 - executedLoops / fullDepthLoops;
  return `${Math.round(100 * saved)} % of loops saved (${executedLoops} of ${fullDepthLoops} run, prompt included)`;
}
