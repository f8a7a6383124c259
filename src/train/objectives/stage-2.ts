/**
 * Stage II: the exit gate alone, towards whether more loops still help.
 * Source: Ouro (arXiv 2510.25741) Eq. 5-6; docs/math.md (stage-2).
 */
import type { Tensor } from '../../graph/index.js';
import {
  add,
  less,
  logSigmoid,
  mul,
  neg,
  sigmoid,
  stopGradient,
  sub,
  where,
} from '../../graph/index.js';
import type { LossParts, ObjectiveDefinition } from './objective.js';

export interface Stage2Settings {
  readonly kind: 'stage-2';
  /**
   * `published`: the label of loop t is whether loop t improved on t-1 (t >= 2).
   * `forward`: the label of loop t is whether any later loop improves on t (t < R).
   */
  readonly target: 'published' | 'forward';
  readonly k: number;
  readonly gamma: number;
}

export function stage2(settings: Omit<Stage2Settings, 'kind'>): ObjectiveDefinition {
  return {
    kind: 'stage-2',
    needsGate: true,
    minLoops: 2,
    trains: 'gate',
    extraInputs: [],
    loss: (parts) => gateLoss(settings, parts),
  };
}

function gateLoss(
  { target, k, gamma }: Omit<Stage2Settings, 'kind'>,
  { tokenLosses, gates, mean }: LossParts,
): Tensor {
  const losses = tokenLosses.map(stopGradient);
  const last = losses.length - 1;
  const loopIndices = losses.map((_, loopIndex) => loopIndex);
  const term = (loopIndex: number, improvement: Tensor) => {
    const gain = where(less(improvement, mul(improvement, 0)), 0, improvement);
    const goOn = sigmoid(mul(sub(gain, gamma), k)); // the label of going on, w
    const gate = gates[loopIndex]!;
    const logLoss = add(mul(goOn, logSigmoid(neg(gate))), mul(sub(1, goOn), logSigmoid(gate)));
    return mean(neg(logLoss));
  };
  if (target === 'published') {
    const terms = loopIndices
      .slice(1)
      .map((loopIndex) => term(loopIndex, sub(losses[loopIndex - 1]!, losses[loopIndex]!)));
    // Eq. 6 and the total below it: T-1 terms divided by T.
    return mul(sum(terms), 1 / losses.length);
  }
  const terms = loopIndices
    .slice(0, last)
    .map((loopIndex) =>
      term(loopIndex, sub(losses[loopIndex]!, losses.slice(loopIndex + 1).reduce(minimum))),
    );
  return mul(sum(terms), 1 / last);
}

const minimum = (a: Tensor, b: Tensor): Tensor => where(less(a, b), a, b);
const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((a, b) => add(a, b));
