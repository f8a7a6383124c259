/**
 * Muon: the momentum of a matrix, made nearly orthogonal, is its update. All that is no matrix of a
 * layer (embedding, head, norms, exit gate) is updated by AdamW.
 *
 * The update is scaled so that its elements are about as large as those of AdamW's, which is why one
 * learning rate and one weight decay serve both.
 * Source: Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/) for momentum and
 * Newton-Schulz; Liu et al. 2025 (arXiv 2502.16982) for decay and scale; docs/math.md (muon).
 */
import type { Tensor } from '../../graph/index.js';
import { add, div, matmul, mul, reduceSum, sqrt, sub } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
import type { AdamWOptions } from './adamw.js';
import { adamW, decayed } from './adamw.js';
import type { Optimizer } from './optimizer.js';

/** AdamW's options are those of the other parameters; decay and clipping are shared. */
export interface MuonOptions extends AdamWOptions {
  /** Decay of the momentum of matrices. */
  readonly momentum: number;
  /** Newton-Schulz iterations. */
  readonly iterations: number;
}

/** Coefficients of the quintic iteration: steep at 0, within about 0.7 to 1.2 after five. */
const [A, B, C] = [3.4445, -4.775, 2.0315] as const;
/** Keeps a gradient of zero finite. */
const NORM_EPSILON = 1e-7;
/** Root mean square of AdamW's updates in practice, to which Muon's are scaled. */
const UPDATE_RMS = 0.2;

export function muon(options: MuonOptions): Optimizer {
  const rest = adamW(options);
  const { momentum, iterations } = options;
  return {
    ...rest,
    scalars: (moment) => ({ ...rest.scalars(moment), learningRate: moment.learningRate }),
    slots: (spec) =>
      isLayerMatrix(spec) ? [{ name: 'momentum', starts: 'at zero' }] : rest.slots(spec),
    rule: (spec) =>
      isLayerMatrix(spec) ? { name: 'orthogonal', isElementwise: false } : rest.rule(spec),
    step(update) {
      const { spec, grad, slot, scalar } = update;
      if (!isLayerMatrix(spec)) return rest.step(update);
      const buffer = add(mul(slot('momentum'), momentum), grad);
      const ahead = add(grad, mul(buffer, momentum)); // Nesterov's
      const direction = orthogonalized(ahead, spec.shape, iterations);
      const scale = UPDATE_RMS * Math.sqrt(Math.max(...spec.shape));
      const change = mul(direction, mul(scalar('learningRate'), scale));
      return { param: sub(decayed(update), change), slots: { momentum: buffer } };
    },
  };
}

function isLayerMatrix({ kind }: ParameterSpec): boolean {
  return kind === 'matrix';
}

/** `[r, c]` with singular values near 1 and the same singular vectors. */
function orthogonalized(x: Tensor, shape: readonly number[], iterations: number): Tensor {
  const [rows, columns] = shape as [number, number];
  // The Gram matrix of the shorter side is the smaller one.
  const isTall = rows > columns;
  let y = div(x, add(sqrt(reduceSum(mul(x, x))), NORM_EPSILON));
  for (let iteration = 0; iteration < iterations; iteration++) {
    const gram = matmul(y, y, isTall ? { transposeA: true } : { transposeB: true });
    const polynomial = add(mul(gram, B), mul(matmul(gram, gram), C));
    const change = isTall ? matmul(y, polynomial) : matmul(polynomial, y);
    y = add(mul(y, A), change);
  }
  return y;
}
