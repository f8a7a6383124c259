/**
 * What a policy gradient is made of, as a file says it: what is made likelier, how a rollout that other
 * weights drew is corrected for, and what holds the policy back.
 */
import { z } from 'zod';
import type { KvPolicy } from '../model/index.js';
import { numberBetween, positiveNumber, rule, section, word } from '../util/setting-fields.js';

/**
 * Whose log-probability an advantage is credited to.
 *
 * `exit`: the token at the depth where it exited. `depth-action`: that, and `exitWeight` times the
 * log-probability of exiting there, so that depth is learnt as an action. `last-loop`: the token at the
 * last loop, wherever it exited, as a trainer that knows one fixed path has it. `loops`: the token at
 * every loop (RLTT), each with a weight: the same for all, growing as depth to the power `alpha`, the exit
 * distribution of the gate, or learnt.
 */
const credit = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('exit') }),
    section({ kind: z.literal('depth-action'), exitWeight: positiveNumber(1e6).default(1) }),
    section({ kind: z.literal('last-loop') }),
    section({
      kind: z.literal('loops'),
      weights: word(['uniform', 'progressive', 'exit-pdf', 'learned']).default('exit-pdf'),
      alpha: positiveNumber(100).default(1),
    }),
  ],
  rule('an object whose kind is "exit", "depth-action", "last-loop" or "loops"'),
);

const LEVELS = ['token', 'sequence'] as const;
const cap = (value: number) => numberBetween(1, 1e6).default(value);

/**
 * What becomes of the ratio of the probability now to that of the rollout. `none`: nothing is corrected.
 * `clip`: a token that has moved in its advantage's direction beyond the bounds gives no gradient
 * (PPO, GRPO). `truncate`: the ratio counts up to `cap` (CISPO, by token). `mask`: what lies beyond `cap`
 * gives no gradient.
 */
const ratio = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('none') }),
    section({
      kind: z.literal('clip'),
      low: numberBetween(0, 1).default(0.2),
      high: positiveNumber(1e6).default(0.2),
    }),
    section({ kind: z.literal('truncate'), level: word(LEVELS).default('token'), cap: cap(5) }),
    section({ kind: z.literal('mask'), level: word(LEVELS).default('sequence'), cap: cap(3) }),
  ],
  rule('an object whose kind is "none", "clip", "truncate" or "mask"'),
);

/**
 * KV policies that a trainer replays all positions of at once. Under `shared` it could not: a token reads what
 * those before it left at their last loop, whatever its own.
 */
export const REPLAYED_KV_POLICIES = [
  'per-loop',
  'last-exited',
] as const satisfies readonly KvPolicy[];
export type ReplayedKvPolicy = (typeof REPLAYED_KV_POLICIES)[number];

const coefficient = numberBetween(0, 1e6).default(0);

export const policyFields = {
  credit: credit.prefault({ kind: 'exit' }),
  ratio: ratio.prefault({ kind: 'truncate' }),
  /** Of the divergence from the model that the run began with (k3); 0 needs no such model. */
  klCoefficient: coefficient,
  /** Of the entropy of the exit distribution, which is rewarded. */
  exitEntropy: coefficient,
};

const policySchema = section(policyFields);
export type PolicySettings = Readonly<z.output<typeof policySchema>>;
