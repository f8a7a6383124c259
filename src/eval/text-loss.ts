/**
 * Loss by depth over token documents, for text: what each further loop is worth.
 */
import type { TrainingDocument } from '../data/index.js';
import type { ReadLoopsOptions } from './readings.js';
import { readLoopsByBatch } from './readings.js';

/** Mean loss over the counted targets. */
export interface DepthLoss {
  readonly countedTargets: number;
  /** Cross-entropy at depth 1..R, in nats. */
  readonly lossByDepth: readonly number[];
}

/**
 * Mean cross-entropy at every depth. Only sums are kept, so the set may be large.
 *
 * @throws ConfigError or ShapeError as `readLoops` does
 */
export async function lossByDepth(
  options: ReadLoopsOptions,
  documents: readonly TrainingDocument[],
): Promise<DepthLoss> {
  const sums = new Array<number>(options.numLoops ?? options.config.numLoops).fill(0);
  let countedTargets = 0;
  for await (const readings of readLoopsByBatch(options, documents)) {
    for (const { loops } of readings) loops.forEach(({ loss }, index) => (sums[index]! += loss));
    countedTargets += readings.length;
  }
  return { countedTargets, lossByDepth: sums.map((sum) => sum / countedTargets) };
}

/**
 * Bits that a model needs for each byte of a text.
 *
 * @param meanLoss - nats per token
 */
export function bitsPerByte(meanLoss: number, numTokens: number, numBytes: number): number {
  return (meanLoss * numTokens) / (Math.LN2 * numBytes);
}
