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
import type { KvCache } from './kv-cache.js';
import type { KvPolicy } from './rollout.js';

export interface KvPolicyRules {
  /** Whether tokens keep their state on exit, to run missing loops when a later token goes deeper. */
  readonly defersLoops: boolean;
  /** Plane that a decode loop reads and writes. @param loopIndex - from 0 */
  plane(loopIndex: number): number;
  /** Changes the cache once the prompt has run all `numLoops` loops. */
  afterPrefill(cache: KvCache, numLoops: number): Promise<void>;
  /** Commands once the token of `slot` exits at `exitDepth`. */
  onExit(cache: KvCache, slot: number, exitDepth: number, numLoops: number): readonly Command[];
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
    onExit(cache, slot, exitDepth, numLoops) {
      const deeper = Array.from({ length: numLoops - exitDepth }, (_, index) => exitDepth + index);
      return deeper.flatMap((plane) => cache.copyCommands(exitDepth - 1, plane, [slot]));
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
