/**
 * Stage I: the loss of each loop weighed with the probability of stopping there, less `beta` times the
 * entropy of that distribution.
 * Source: Ouro (arXiv 2510.25741) Eq. 4; docs/math.md (stage-1).
 */
import { add, exp, mul, sub } from '../../graph/index.js';
import type { ObjectiveDefinition } from './objective.js';

export interface Stage1Settings {
  readonly kind: 'stage-1';
  readonly beta: number;
}

export function stage1({ beta }: Pick<Stage1Settings, 'beta'>): ObjectiveDefinition {
  return {
    kind: 'stage-1',
    needsGate: true,
    minLoops: 1,
    trains: 'all',
    extraInputs: [],
    loss({ tokenLosses, logPdf, entropy, mean }) {
      const terms = tokenLosses.map((ce, loopIndex) => mul(exp(logPdf[loopIndex]!), ce));
      const expected = terms.reduce((a, b) => add(a, b));
      return mean(sub(expected, mul(entropy, beta)));
    },
  };
}
