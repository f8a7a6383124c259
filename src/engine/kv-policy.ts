/**
 * KV policies: what a query at depth d reads of an earlier token that exited at depth e.
 *
 * Each is one entry of a table, with its own golden numbers (test/fixtures/README.md):
 * `per-loop` reads depth d and lets the earlier token run the loops it lacks first, so results do
 * not depend on who exited when; `last-exited` reads depth min(d, e) by copying on exit; `shared`
 * reads depth e and keeps a single plane after the prefill.
 * Source: docs/math.md (kv-policies).
 */
import type { Command } from '../runtime/index.js';
import type { KvPolicy } from './rollout.js';
import type { BatchEntry, CachedRun } from './runner.js';

export interface KvPolicyRules {
  /** Whether tokens keep their state on exit, to run missing loops when a later token goes deeper. */
  readonly defersLoops: boolean;
  /** Plane that a decode loop reads and writes. @param loopIndex - from 0 */
  plane(loopIndex: number): number;
  /** Changes the cache once the prompt has run all `numLoops` loops. */
  afterPrefill(cache: CachedRun, numLoops: number): Promise<void>;
  /** Commands once a token exits, after `depth` loops. */
  onExit(cache: CachedRun, entry: BatchEntry, numLoops: number): readonly Command[];
}

export const KV_POLICY_RULES: Readonly<Record<KvPolicy, KvPolicyRules>> = {
  'per-loop': {
    defersLoops: true,
    plane: (loopIndex) => loopIndex,
    afterPrefill: async () => {},
    onExit: () => [],
  },
  'last-exited': {
    defersLoops: false,
    plane: (loopIndex) => loopIndex,
    afterPrefill: async () => {},
    onExit(cache, entry, numLoops) {
      const { depth } = entry.token;
      const deeper = Array.from({ length: numLoops - depth }, (_, index) => depth + index);
      return cache.copyCommands(entry, depth - 1, deeper);
    },
  },
  shared: {
    defersLoops: false,
    // Each loop overwrites the token's own slot, so what stays is the loop it exited at.
    plane: () => 0,
    afterPrefill: (cache, numLoops) => cache.keepOnly(numLoops - 1),
    onExit: () => [],
  },
};
