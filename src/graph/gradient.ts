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
    throw new ShapeError(`gradients: the loss has shape ${showShape(loss.shape)}; reduce it to [].`);
  }
  const wanted = new Set(wrt.map(({ id }) => id));
  const pending = new PendingGradients(needsGradient(loss, wanted));
  pending.add(loss, scalar(1));
  for (let next = pending.takeNewest(); next; next = pending.takeNewest()) {
    const [node, grad] = next;
    if (node.rebuild) {
      const [, ...inputs] = node.inputs;
      const again = node.rebuild(inputs.map((x) => barrier(x, grad)));
      pending.allow(needsGradient(again, wanted, pending.allowed));
      pending.add(again, grad);
    } else if (node.inputs.length > 0) {
      const rule = findOp(node.op)?.gradient;
      if (!rule) {
        if (node.op === 'stopGradient') continue;
        throw new UnsupportedError(`op ${node.op} has no gradient rule.`);
      }
      rule(node, grad).forEach((part, index) => {
        if (part) pending.add(node.inputs[index]!, part);
      });
    }
  }
  return wrt.map(({ id }) => pending.result(id));
}

/** Ids of tensors below `root` through which a wanted tensor is reached. */
function needsGradient(
  root: Tensor,
  wanted: ReadonlySet<number>,
  known: ReadonlySet<number> = new Set(),
): ReadonlySet<number> {
  const reaches = new Map<number, boolean>();
  for (const node of ancestors(root)) {
    const differentiable = node.dtype === 'f32' || node.dtype === 'f16';
    const carries =
      wanted.has(node.id) ||
      known.has(node.id) ||
      (node.op !== 'stopGradient' && node.inputs.some(({ id }) => reaches.get(id)));
    reaches.set(node.id, differentiable && carries);
  }
  return new Set([...reaches].flatMap(([id, carries]) => (carries ? [id] : [])));
}

/** All tensors that `root` depends on and itself, inputs before their users. */
export function ancestors(...roots: readonly Tensor[]): readonly Tensor[] {
  const found = new Map<number, Tensor>();
  const open = [...roots];
  for (let node = open.pop(); node; node = open.pop()) {
    if (found.has(node.id)) continue;
    found.set(node.id, node);
    open.push(...node.inputs);
  }
  return [...found.values()].sort((a, b) => a.id - b.id);
}

class PendingGradients {
  readonly allowed: Set<number>;
  readonly #open = new Map<number, readonly [Tensor, Tensor]>();
  readonly #done = new Map<number, Tensor>();

  constructor(allowed: ReadonlySet<number>) {
    this.allowed = new Set(allowed);
  }

  allow(ids: ReadonlySet<number>): void {
    for (const id of ids) this.allowed.add(id);
  }

  add(node: Tensor, grad: Tensor): void {
    if (!this.allowed.has(node.id)) return;
    if (!sameShape(node.shape, grad.shape)) {
      throw new ShapeError(
        `gradient of ${node.op} ${showShape(node.shape)} has shape ${showShape(grad.shape)}.`,
      );
    }
    const earlier = this.#open.get(node.id)?.[1];
    this.#open.set(node.id, [node, earlier ? add(earlier, grad) : grad]);
  }

  takeNewest(): readonly [Tensor, Tensor] | undefined {
    let newest = -1;
    for (const id of this.#open.keys()) if (id > newest) newest = id;
    const entry = this.#open.get(newest);
    if (!entry) return undefined;
    this.#open.delete(newest);
    this.#done.set(newest, entry[1]);
    return entry;
  }

  result(id: number): Tensor | undefined {
    return this.#done.get(id);
  }
}
