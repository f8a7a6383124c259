/**
 * Attention of whole sequences over themselves, in blocks of queries: nothing is computed above the
 * diagonal's blocks, and of long sequences only the scores of one block exist at a time.
 *
 * Letters: B sequence and kv head, g query heads of a kv head, T positions, b queries of a block, e keys
 * up to its end, Dh head dim.
 * Source: docs/math.md (attention-blocks).
 */
import type { Tensor } from '../graph/index.js';
import {
  add,
  and,
  barrier,
  concat,
  constant,
  expand,
  greaterOrEqual,
  matmul,
  mul,
  neg,
  reduceSum,
  reshape,
  scalar,
  slice,
  softmax,
  transpose,
  where,
  withGradient,
} from '../graph/index.js';

/** Queries of a block, at least and at most; between them an eighth of the sequence. */
const [SMALLEST_BLOCK, LARGEST_BLOCK] = [128, 512];
/** Far below any score, yet finite: a row is never left without a visible position. */
const HIDDEN_SCORE = -1e9;

interface Block {
  readonly from: number;
  readonly to: number;
}

/** What hides from a block the positions that are later, or not seen any more: 0 or a large negative, `[rows, 1, b, e]`. */
type Mask = (block: Block, queries: Tensor) => Tensor;

export interface SelfAttentionOptions {
  /** f32 `[rows, T]`: the position of its row from which on each position is not seen any more. */
  readonly seenUntil: Tensor;
  /**
   * Whether the backward pass finds the weights of the forward pass. Else it computes them again, block
   * by block, and memory grows with the length and not with its square.
   */
  readonly keepsWeights: boolean;
}

/** Attention of the sequences of a batch over themselves: the same masks in all layers and loops. */
export function selfAttention({ seenUntil, keepsWeights }: SelfAttentionOptions) {
  const [rows, length] = seenUntil.shape as [number, number];
  const blocks = blocksOf(length);
  const masks = new Map<Block, Tensor>();
  const mask: Mask = (block, queries) => {
    // Behind the barrier a mask of its own, which does not live from layer to layer.
    if (!keepsWeights) return maskOf(barrier(seenUntil, queries), block);
    if (!masks.has(block)) masks.set(block, maskOf(seenUntil, block));
    return masks.get(block)!;
  };
  /**
   * @param q - `[rows*T, H, Dh]`, rows one after the other
   * @param k - `[rows*T, K, Dh]`, as is `v`
   * @returns `[rows*T, H, Dh]`
   */
  return (q: Tensor, k: Tensor, v: Tensor): Tensor => {
    const [N, H, headDim] = q.shape as [number, number, number];
    const K = k.shape[1] as number;
    const split = (x: Tensor, heads: number) =>
      transpose(reshape(x, [rows, length, heads, headDim]), [0, 2, 1, 3]);
    // A group of H/K query heads shares a kv head; the group is an axis of its own.
    const mixed = attention(
      reshape(split(q, H), [rows * K, H / K, length, headDim]),
      reshape(split(k, K), [rows * K, length, headDim]),
      reshape(split(v, K), [rows * K, length, headDim]),
      { blocks, mask, keepsWeights },
    );
    const byRow = transpose(reshape(mixed, [rows, H, length, headDim]), [0, 2, 1, 3]);
    return reshape(byRow, [N, H, headDim]);
  };
}

function maskOf(seenUntil: Tensor, { from, to }: Block): Tensor {
  const ends = reshape(slice(seenUntil, 1, 0, to), [seenUntil.shape[0]!, 1, 1, to]);
  const own = (shift: number) => positions(from + shift, to + shift, [to - from, 1]);
  const isEarlier = greaterOrEqual(own(0), positions(0, to, [1, to]));
  const isSeen = greaterOrEqual(ends, own(1));
  return where(and(isSeen, isEarlier), 0, HIDDEN_SCORE);
}

const positions = (from: number, to: number, shape: readonly number[]): Tensor =>
  constant(
    Float32Array.from({ length: to - from }, (_, index) => from + index),
    shape,
  );

interface Plan {
  readonly blocks: readonly Block[];
  readonly mask: Mask;
  readonly keepsWeights: boolean;
}

/** `q [B, g, T, Dh]`, `k` and `v [B, T, Dh]` to `[B, g, T, Dh]`. */
function attention(q: Tensor, k: Tensor, v: Tensor, { blocks, mask, keepsWeights }: Plan): Tensor {
  const [B, g, T, headDim] = q.shape as [number, number, number, number];
  const alpha = headDim ** -0.5;
  const width = ({ from, to }: Block) => to - from;
  // The heads of a group lie one under the other, so that they are one product: [B, g*b, ...].
  const queriesOf = (x: Tensor, { from, to }: Block) =>
    reshape(slice(x, 2, from, to), [B, g * (to - from), x.shape[3]!]);
  const keysOf = (x: Tensor, { to }: Block) => slice(x, 1, 0, to);
  const weightsOf = (queries: Tensor, keys: Tensor, block: Block) => {
    const scores = matmul(queries, keysOf(keys, block), { transposeB: true, alpha });
    const bias = mask(block, queries);
    const rows = bias.shape[0] as number;
    const byHead = reshape(scores, [rows, (B * g) / rows, width(block), block.to]);
    return reshape(softmax(add(byHead, bias)), scores.shape);
  };
  const joined = (parts: readonly Tensor[]) =>
    concat(
      parts.map((part, index) => reshape(part, [B, g, width(blocks[index]!), headDim])),
      2,
    );

  const weights = blocks.map((block) => weightsOf(queriesOf(q, block), k, block));
  const mixed = joined(blocks.map((block, i) => matmul(weights[i]!, keysOf(v, block))));
  return withGradient(mixed, [q, k, v], (grad) => {
    // d scores = P * (grad v^T - sum(grad * mixed)): the sum is one more column of the product.
    // Behind barriers slices are taken anew: those of the forward pass together are far larger than k.
    const [q2, k2, v2] = blocks.length === 1 ? [q, k, v] : [q, k, v].map((x) => barrier(x, grad));
    const sums = reduceSum(mul(grad, mixed), [-1], true);
    const gradAndSum = concat([grad, neg(sums)], 3);
    const valuesAndOne = concat([v2!, expand(scalar(1), [B, T, 1])], 2);
    const gradQ: Tensor[] = [];
    const gradK = new BlockSums(blocks);
    const gradV = new BlockSums(blocks);
    let last = grad;
    // The largest block first: what it takes serves the others.
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!;
      const queries = queriesOf(q2!, block);
      const inTurn = (x: Tensor) => (keepsWeights ? x : barrier(x, last));
      const P = keepsWeights ? weights[i]! : weightsOf(inTurn(queries), k2!, block);
      const gradP = matmul(inTurn(queriesOf(gradAndSum, block)), keysOf(valuesAndOne, block), {
        transposeB: true,
      });
      const gradScores = mul(P, gradP);
      const byKeys = matmul(gradScores, queries, { transposeA: true, alpha });
      const byValues = matmul(P, queriesOf(grad, block), { transposeA: true });
      const byQueries = matmul(gradScores, keysOf(k2!, block), { alpha });
      gradQ[i] = byQueries;
      gradK.add(byKeys, i);
      gradV.add(byValues, i);
      last = barrier(scalar(0), byQueries, byKeys, byValues);
    }
    return [joined(gradQ), gradK.joined(), gradV.joined()];
  });
}

/** Queries of a block of a sequence. */
export function attentionBlock(length: number): number {
  const eighth = 2 ** Math.ceil(Math.log2(length / 8));
  return Math.min(Math.max(eighth, SMALLEST_BLOCK), LARGEST_BLOCK);
}

function blocksOf(length: number): readonly Block[] {
  const size = attentionBlock(length);
  return Array.from({ length: Math.ceil(length / size) }, (_, i) => ({
    from: i * size,
    to: Math.min(length, (i + 1) * size),
  }));
}

/** Sums of gradients of keys, block by block: later queries see all earlier keys. */
class BlockSums {
  readonly #blocks: readonly Block[];
  readonly #sums: Tensor[] = [];

  constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
  }

  /** @param grad - `[B, e, Dh]`, of all keys up to the end of the block `last` */
  add(grad: Tensor, last: number): void {
    this.#blocks.slice(0, last + 1).forEach(({ from, to }, i) => {
      const part = slice(grad, 1, from, to);
      const sum = this.#sums[i];
      this.#sums[i] = sum ? add(sum, part) : part;
    });
  }

  joined(): Tensor {
    return concat(this.#sums, 1);
  }
}
