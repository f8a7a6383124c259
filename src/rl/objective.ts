/**
 * Policy gradients over tokens whose depth was chosen while they were drawn.
 *
 * One form for all: minus the mean of weight x coefficient x advantage x log-probability, in which the
 * coefficient, made from the ratio of now to the rollout, takes no gradient. The depth of a token is
 * replayed: its log-probability is read at the loop where it exited, and that of the exit stays live, so
 * that the gate is trained by what its choices led to. Under `last-exited` so is what later tokens read of it.
 * Sources and formulas: docs/math.md (policy-gradient).
 */
import { ConfigError } from '../errors.js';
import type { Tensor } from '../graph/index.js';
import {
  add,
  addRows,
  and,
  equal,
  exp,
  gatherRows,
  intScalar,
  less,
  mul,
  neg,
  reshape,
  stopGradient,
  sub,
  where,
} from '../graph/index.js';
import { staticShape } from '../graph/index.js';
import type { ExitInput, ExtraInput, LossParts, ObjectiveDefinition } from '../train/index.js';
import type { PolicySettings, ReplayedKvPolicy } from './objective-settings.js';

/** Inputs for each position, beside tokens and targets; all are 0 where no target counts. */
export const POLICY_INPUTS = {
  /** Depth at which the token of the target exited, 1 to R. */
  exitDepth: { name: 'exitDepth', dtype: 'i32' },
  advantage: { name: 'advantage', dtype: 'f32' },
  /** What the position counts in the mean. */
  weight: { name: 'weight', dtype: 'f32' },
  /** Log-probability of what the rollout did: of the token, and of its exit where that is an action. */
  behavior: { name: 'behavior', dtype: 'f32' },
  /** Number of the sequence in its batch, from 0. */
  sequence: { name: 'sequence', dtype: 'i32' },
  /** Log-probability of the token by the reference, at the depth that is compared. */
  reference: { name: 'reference', dtype: 'f32' },
  /** Deepest loop of which the token that is read here left keys and values, 1 to R. */
  kvDepth: { name: 'kvDepth', dtype: 'i32' },
} as const satisfies Record<string, ExtraInput>;

/** Where the forward pass of a replay finds its exits; nowhere under `per-loop`, which has none. */
export const replayedExits = (kvPolicy: ReplayedKvPolicy): ExitInput | undefined =>
  kvPolicy === 'last-exited' ? { by: 'depth', input: POLICY_INPUTS.kvDepth } : undefined;

/** The weight of a loop, from 0, where weights are learnt: the same at all positions. */
export const loopWeightInput = (loopIndex: number): ExtraInput => ({
  name: `loopWeight${loopIndex + 1}`,
  dtype: 'f32',
});

/**
 * The objective of a model with `numLoops` loops.
 *
 * A loss of it is of use for its gradient alone: it does not say how well the policy does.
 *
 * @param kvPolicy - of the rollouts
 * @throws ConfigError for settings that need loops which rollouts of that KV policy have not run
 */
export function policyObjective(
  settings: PolicySettings,
  numLoops: number,
  kvPolicy: ReplayedKvPolicy = 'per-loop',
): ObjectiveDefinition {
  checkLoopsRead(settings, kvPolicy);
  const { credit, ratio, klCoefficient, exitEntropy } = settings;
  const exits = replayedExits(kvPolicy);
  const isBySequence = 'level' in ratio && ratio.level === 'sequence';
  const { exitDepth, advantage, weight, behavior, sequence, reference } = POLICY_INPUTS;
  const readsDepth =
    credit.kind !== 'last-loop' && (credit.kind !== 'loops' || ratio.kind !== 'none');
  const readsGate =
    credit.kind === 'depth-action' ||
    (credit.kind === 'loops' && credit.weights === 'exit-pdf') ||
    exitEntropy > 0;
  return {
    kind: 'policy gradient',
    needsGate: readsGate,
    minLoops: 1,
    trains: 'all',
    exits,
    extraInputs: [
      advantage,
      weight,
      ...(readsDepth ? [exitDepth] : []),
      ...(ratio.kind === 'none' ? [] : [behavior]),
      ...(isBySequence ? [sequence] : []),
      ...(klCoefficient > 0 ? [reference] : []),
      ...(exits ? [exits.input] : []),
      ...(credit.kind === 'loops' && credit.weights === 'learned'
        ? Array.from({ length: numLoops }, (_, loopIndex) => loopWeightInput(loopIndex))
        : []),
    ],
    loss(parts) {
      const { extra, mean, entropy } = parts;
      const coefficient = ratioCoefficient(settings, parts);
      const gain = mul(creditOf(settings, parts), extra('advantage'));
      let loss = neg(coefficient ? mul(gain, coefficient) : gain);
      if (klCoefficient > 0) loss = add(loss, mul(divergence(settings, parts), klCoefficient));
      if (exitEntropy > 0) loss = sub(loss, mul(entropy, exitEntropy));
      return mean(mul(loss, extra('weight')));
    },
  };
}

/** Under `last-exited` there is nothing beyond a token's exit that a gradient could be of. */
function checkLoopsRead({ credit, exitEntropy }: PolicySettings, kvPolicy: ReplayedKvPolicy): void {
  if (kvPolicy === 'per-loop') return;
  const way = `with kvPolicy ${kvPolicy} a token has no loops beyond its exit`;
  if (credit.kind === 'loops' || credit.kind === 'last-loop') {
    throw new ConfigError(
      'policy.credit',
      `policy.credit is "${credit.kind}", which reads every loop, and ${way}. Take "exit" or "depth-action", or kvPolicy per-loop.`,
    );
  }
  if (exitEntropy === 0) return;
  throw new ConfigError(
    'policy.exitEntropy',
    `policy.exitEntropy is ${exitEntropy}, which reads the gate after every loop, and ${way}. Take 0, or kvPolicy per-loop.`,
  );
}

/** Log-probability of the target at every depth, `[N]` each. */
const logProbs = ({ tokenLosses }: LossParts): readonly Tensor[] => tokenLosses.map(neg);

/** Of a value for each depth, that of the exit; 0 where no target counts. */
function atExit(values: readonly Tensor[], { extra }: LossParts): Tensor {
  const exitDepth = extra('exitDepth');
  return sum(
    values.map((value, loopIndex) => where(equal(exitDepth, intScalar(loopIndex + 1)), value, 0)),
  );
}

/** Log-probability of what the rollout did, by the weights now, as the trainer knows it. */
function actionOf({ credit }: PolicySettings, parts: LossParts): Tensor {
  const values = logProbs(parts);
  if (credit.kind === 'last-loop') return where(parts.counted, values.at(-1)!, 0);
  const token = atExit(values, parts);
  return credit.kind === 'depth-action' ? add(token, atExit(parts.logPdf, parts)) : token;
}

/** What the advantage makes likelier or less likely. */
function creditOf({ credit }: PolicySettings, parts: LossParts): Tensor {
  const values = logProbs(parts);
  switch (credit.kind) {
    case 'exit':
      return atExit(values, parts);
    case 'depth-action': {
      const exit = mul(atExit(parts.logPdf, parts), credit.exitWeight);
      return add(atExit(values, parts), exit);
    }
    case 'last-loop':
      return values.at(-1)!;
    case 'loops':
      return sum(
        values.map((value, loopIndex) => mul(value, loopWeight(credit, parts, loopIndex))),
      );
    default:
      return credit satisfies never;
  }
}

type LoopCredit = Extract<PolicySettings['credit'], { kind: 'loops' }>;

function loopWeight(
  { weights, alpha }: LoopCredit,
  { tokenLosses, logPdf, extra }: LossParts,
  loopIndex: number,
): Tensor | number {
  const depths = tokenLosses.map((_, index) => index + 1);
  switch (weights) {
    case 'uniform':
      return 1 / depths.length;
    case 'progressive': {
      const total = depths.reduce((all, depth) => all + depth ** alpha, 0);
      return depths[loopIndex]! ** alpha / total;
    }
    case 'exit-pdf':
      return exp(logPdf[loopIndex]!);
    case 'learned':
      return extra(loopWeightInput(loopIndex).name);
    default:
      return weights satisfies never;
  }
}

/** Ratios beyond e to this power are as good as infinite. */
const MAX_LOG_RATIO = 20;

/** What the ratio of now to the rollout makes of a token's gradient, `[N]`, if anything. */
function ratioCoefficient(settings: PolicySettings, parts: LossParts): Tensor | undefined {
  const { ratio } = settings;
  const { extra } = parts;
  if (ratio.kind === 'none') return undefined;
  const logRatio = stopGradient(sub(actionOf(settings, parts), extra('behavior')));
  const one = add(mul(logRatio, 0), 1);
  switch (ratio.kind) {
    case 'clip': {
      const value = ratioOf(logRatio);
      const rises = less(mul(one, 0), extra('advantage'));
      const isAbove = and(rises, less(mul(one, 1 + ratio.high), value));
      const falls = less(extra('advantage'), mul(one, 0));
      const isBelow = and(falls, less(value, mul(one, 1 - ratio.low)));
      return where(isAbove, 0, where(isBelow, 0, value));
    }
    case 'truncate': {
      const value = ratioOf(ratio.level === 'token' ? logRatio : bySequence(logRatio, parts));
      return where(less(value, mul(one, ratio.cap)), value, ratio.cap);
    }
    case 'mask': {
      const value = ratioOf(ratio.level === 'token' ? logRatio : bySequence(logRatio, parts));
      return where(less(mul(one, ratio.cap), value), 0, value);
    }
    default:
      return ratio satisfies never;
  }
}

const ratioOf = (logRatio: Tensor): Tensor =>
  exp(where(less(logRatio, add(mul(logRatio, 0), MAX_LOG_RATIO)), logRatio, MAX_LOG_RATIO));

/** The sum over each sequence, at every one of its positions. */
function bySequence(values: Tensor, { extra }: LossParts): Tensor {
  const [numPositions] = staticShape(values) as [number];
  const column = reshape(values, [numPositions, 1]);
  // a batch has at most as many sequences as positions
  const sums = addRows([numPositions, 1], extra('sequence'), column);
  return reshape(gatherRows(sums, extra('sequence')), [numPositions]);
}

/** k3 of Schulman (http://joschu.net/blog/kl-approx.html): never negative, its mean is the divergence. */
function divergence({ credit }: PolicySettings, parts: LossParts): Tensor {
  const values = logProbs(parts);
  const isLast = credit.kind === 'loops' || credit.kind === 'last-loop';
  const now = isLast ? where(parts.counted, values.at(-1)!, 0) : atExit(values, parts);
  const gap = sub(parts.extra('reference'), now);
  return sub(sub(exp(gap), gap), 1);
}

const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => add(a, b));
