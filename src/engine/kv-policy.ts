/**
 * KV policies: what a query at depth d reads of an earlier token that exited at depth e.
 *
 * Each is one entry of a table, with its own golden numbers (test/fixtures/README.md):
 * `per-loop` reads depth d and lets the earlier token run the loops it lacks first, so results do
 * not depend on who exited when; `last-exited` reads depth min(d, e) by copying on exit; `shared`
 * reads depth e and keeps a single plane after the prefill.
 * Source: docs/math.md (kv-policies).
 */
import type { KvPolicy } from '../model/index.js';

export interface KvPolicyRules {
  /** Whether tokens keep their state on exit, to run missing loops when a later token goes deeper. */
  readonly defersLoops: boolean;
  /** Whether a token that exits leaves what it left in its last plane in the deeper ones, too. */
  readonly fillsDeeperPlanes: boolean;
  /** Whether only the deepest plane is kept once the prompt has run all loops; it becomes plane 0. */
  readonly keepsLastPlane: boolean;
}

export const KV_POLICY_RULES: Readonly<Record<KvPolicy, KvPolicyRules>> = {
  'per-loop': { defersLoops: true, fillsDeeperPlanes: false, keepsLastPlane: false },
  'last-exited': { defersLoops: false, fillsDeeperPlanes: true, keepsLastPlane: false },
  // Each loop overwrites the token's own place, so what stays is the loop it exited at.
  shared: { defersLoops: false, fillsDeeperPlanes: false, keepsLastPlane: true },
};
