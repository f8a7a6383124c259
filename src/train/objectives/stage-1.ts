/**
 * Stage I: the loss of each loop weighed with the probability of stopping there, less `beta` times the
 * entropy of that distribution.
 * Source: Ouro (arXiv 2510.25741) Eq. 4; docs/math.md (stage-1, exits-in-training).
 */
import { add, exp, mul, sub } from '../../graph/index.js';
import type { ExitInput, ObjectiveDefinition } from './objective.js';

export interface ExitSettings {
  /** Part of the documents whose tokens exit. */
  readonly share: number;
  /** Quantiles are drawn evenly between these. */
  readonly from: number;
  readonly to: number;
}

/** The input that says at which quantile a position exits. */
export const EXIT_QUANTILE: ExitInput = {
  by: 'quantile',
  input: { name: 'exitQuantile', dtype: 'f32' },
};

export interface Stage1Settings {
  readonly kind: 'stage-1';
  readonly beta: number;
  /** Lets tokens exit in the forward pass, as under `last-exited`. Default: all loops leave keys and values. */
  readonly exits?: ExitSettings | undefined;
}

export function stage1({
  beta,
  exits,
}: Pick<Stage1Settings, 'beta' | 'exits'>): ObjectiveDefinition {
  return {
    kind: 'stage-1',
    needsGate: true,
    minLoops: 1,
    trains: 'all',
    extraInputs: exits ? [EXIT_QUANTILE.input] : [],
    exits: exits && EXIT_QUANTILE,
    loss({ tokenLosses, logPdf, entropy, mean }) {
      const terms = tokenLosses.map((ce, loopIndex) => mul(exp(logPdf[loopIndex]!), ce));
      const expected = terms.reduce((a, b) => add(a, b));
      return mean(sub(expected, mul(entropy, beta)));
    },
  };
}
