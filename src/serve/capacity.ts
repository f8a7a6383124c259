/** How much more work a server can take, for balancers that choose between several. */
import type { EngineStats } from '../engine/index.js';

export interface Capacity {
  /** Free part of sequences or of the cache, whichever is less, 0 to 1. */
  readonly freeFraction: number;
  /** Whether no new requests are taken. */
  readonly isDraining: boolean;
}

/**
 * The free part of a server.
 *
 * @param numWaiting - requests that wait before the engine
 * @param maxSequences - that are computed at a time
 */
export function freeFraction(
  stats: Pick<EngineStats, 'numRunning' | 'numWaiting' | 'numPagesUsed' | 'maxPages' | 'isPaused'>,
  numWaiting: number,
  maxSequences: number,
): number {
  if (stats.isPaused) return 0;
  const sequences = 1 - (stats.numRunning + stats.numWaiting + numWaiting) / maxSequences;
  const pages = 1 - stats.numPagesUsed / stats.maxPages;
  return Math.max(0, Math.min(sequences, pages));
}
