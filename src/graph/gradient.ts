/**
 * Reverse-mode differentiation by graph rewriting: gradients are more tensors, built from the
 * gradient rules of the op table.
 *
 * Tensors are visited from the newest to the oldest. Since an input is always older than its user,
 * every tensor has received all its contributions when it is visited, also those of regions that
 * are rebuilt on the way (recompute.ts).
 */
import { ShapeError, UnsupportedError } from '../errors.js';
import { findOp } from './op.js';
import { add, barrier } from './ops/elementwise.js';
import type { Tensor } from './tensor.js';
import { sameShape, scalar, showShape } from './tensor.js';

/**
 * Gradients of a scalar with respect to tensors it depends on.
 *
 * @param loss - f32, shape `[]`
 * @param wrt - the tensors to differentiate by; one on which the loss does not depend gives
 *   `undefined`
 * @throws UnsupportedError if an operation on the way has no gradient rule
 */
export function gradients(loss: Tensor, wrt: readonly Tensor[]): readonly (Tensor | undefined)[] {
  if (loss.shape.length !== 0) {
    throw new ShapeError(
      `gradients: the loss has shape ${showShape(loss.shape)}; reduce it to [].`,
    );
  }
  return pullback(loss, scalar(1), wrt);
}

/**
 * What a gradient of `output` gives for tensors that it depends on.
 *
 * @param grad - of the shape of `output`
 * @returns as `gradients` does
 */
export function pullback(
  output: Tensor,
  grad: Tensor,
  wrt: readonly Tensor[],
): readonly (Tensor | undefined)[] {
  const pending = new PendingGradients(wrt);
  pending.admit(ancestors([output]));
  pending.add(output, grad);
  propagate(pending, -1);
  return wrt.map((x) => pending.result(x));
}

/** Whether any of `others` is needed to compute `x`. */
export function dependsOn(x: Tensor, others: readonly Tensor[]): boolean {
  const needed = new Set(ancestors([x]).map(({ id }) => id));
  return others.some(({ id }) => needed.has(id));
}

/** Visits every tensor newer than the id `after`. */
function propagate(pending: PendingGradients, after: number): void {
  for (let next = pending.takeNewest(after); next; next = pending.takeNewest(after)) {
    const [node, grad] = next;
    if (node.op === 'stopGradient' || node.inputs.length === 0) continue;
    if (node.rebuild) propagateRegion(pending, node, grad, node.rebuild);
    else propagateOp(pending, node, grad);
  }
}

function propagateOp(pending: PendingGradients, node: Tensor, grad: Tensor): void {
  const rule = findOp(node.op)?.gradient;
  if (!rule) throw new UnsupportedError(`op ${node.op} has no gradient rule.`);
  rule(node, grad).forEach((part, index) => {
    if (part) pending.add(node.inputs[index]!, part);
  });
}

/**
 * Builds a region again, from inputs that wait for the incoming gradient and for the region before.
 * What leaves the region waits in turn for all gradients found in it, those of weights included. So
 * inner values are computed, used and freed region by region, in whatever order programs run.
 */
function propagateRegion(
  pending: PendingGradients,
  node: Tensor,
  grad: Tensor,
  rebuild: NonNullable<Tensor['rebuild']>,
): void {
  const inputs = node.inputs.slice(1);
  const signals = pending.lastRegion ? [grad, pending.lastRegion] : [grad];
  const starts = inputs.map((x) => barrier(x, ...signals));
  const edge = (starts.at(-1) ?? grad).id;
  const again = rebuild(starts);
  const inner = ancestors([again], edge);
  starts.forEach((start, index) => pending.admitLike(start, inputs[index]!));
  pending.admit(inner);
  pending.add(again, grad);
  propagate(pending, edge);

  const used = new Set([again, ...inner.flatMap((x) => x.inputs), ...starts]);
  const outside = [...used].filter(({ id, dtype }) => id <= edge && dtype === 'f32');
  const found = outside.flatMap((x) => pending.peek(x) ?? []);
  const finished = barrier(scalar(0), ...found);
  pending.lastRegion = finished;
  starts.forEach((start, index) => {
    const part = pending.take(start);
    if (part) pending.add(inputs[index]!, barrier(part, finished));
  });
}

/** The roots and all tensors newer than `after` that they depend on, inputs before their users. */
export function ancestors(roots: readonly Tensor[], after = -1): readonly Tensor[] {
  const found = new Map<number, Tensor>();
  const open = [...roots];
  for (let node = open.pop(); node; node = open.pop()) {
    if (node.id <= after || found.has(node.id)) continue;
    found.set(node.id, node);
    open.push(...node.inputs);
  }
  return [...found.values()].toSorted((a, b) => a.id - b.id);
}

/** The gradients that have been found but not passed on, and those of the wanted tensors. */
class PendingGradients {
  readonly #wanted: ReadonlySet<number>;
  /** Tensors through which a wanted tensor is reached; gradients of all others are dropped. */
  readonly #admitted = new Set<number>();
  readonly #open = new Map<number, readonly [Tensor, Tensor]>();
  readonly #results = new Map<number, Tensor>();
  /** Available when the gradients of the last region have been computed. */
  lastRegion: Tensor | undefined;

  constructor(wanted: readonly Tensor[]) {
    this.#wanted = new Set(wanted.map(({ id }) => id));
  }

  /** Decides for each tensor whether its gradient is needed. Inputs come before their users. */
  admit(nodes: readonly Tensor[]): void {
    for (const { id, dtype, op, inputs } of nodes) {
      const isFloat = dtype === 'f32' || dtype === 'f16';
      const reaches = op !== 'stopGradient' && inputs.some((x) => this.#admitted.has(x.id));
      if (isFloat && (reaches || this.#wanted.has(id))) this.#admitted.add(id);
    }
  }

  admitLike(node: Tensor, model: Tensor): void {
    if (this.#admitted.has(model.id)) this.#admitted.add(node.id);
  }

  add(node: Tensor, grad: Tensor): void {
    if (!this.#admitted.has(node.id)) return;
    if (!sameShape(node.shape, grad.shape)) {
      throw new ShapeError(
        `gradient of ${node.op} ${showShape(node.shape)} has shape ${showShape(grad.shape)}.`,
      );
    }
    const earlier = this.peek(node);
    this.#open.set(node.id, [node, earlier ? add(earlier, grad) : grad]);
  }

  peek({ id }: Tensor): Tensor | undefined {
    return this.#open.get(id)?.[1];
  }

  take({ id }: Tensor): Tensor | undefined {
    const grad = this.#open.get(id)?.[1];
    this.#open.delete(id);
    if (grad && this.#wanted.has(id)) this.#results.set(id, grad);
    return grad;
  }

  takeNewest(after: number): readonly [Tensor, Tensor] | undefined {
    let newest = after;
    for (const id of this.#open.keys()) if (id > newest) newest = id;
    if (newest === after) return undefined;
    const [node] = this.#open.get(newest)!;
    return [node, this.take(node)!];
  }

  result({ id }: Tensor): Tensor | undefined {
    return this.#results.get(id);
  }
}
