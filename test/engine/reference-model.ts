/**
 * The looped model written down a second time: float64, plain arrays, one token after the other.
 *
 * It follows the definition in test/fixtures/README.md and, for Nanbeige, docs/math.md, and nothing of
 * src/: no planes, no slots, no batch. Every token keeps the keys and values of every loop it ran, and a KV policy is a function
 * that says which of an earlier token's versions a query reads.
 */
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';

type Row = readonly number[];

/** What the loops of one token gave; entry `depth - 1` belongs to `depth`. */
export interface ReferenceToken {
  readonly hidden: readonly Row[]; // [depth][D]
  readonly gateLogits: readonly number[]; // none without a gate
  readonly logits: readonly Row[]; // [depth][V]
}

/** One position of a sequence. */
export interface ReferenceInput {
  readonly id: number;
  /** Loops that the token runs, from 1. */
  readonly depth: number;
}

/**
 * Depth whose keys and values a query reads of an earlier position: `depth` is the query's own loop,
 * `ran` the loops that the earlier position ran, `reader` the query's position.
 */
export type ReadVersion = (depth: number, ran: number, reader: number) => number;

/** Keys and values of one token: [loop][layer]. */
interface Cached {
  readonly ran: number;
  readonly keys: readonly number[][][];
  readonly values: readonly number[][][];
}

/** Where a test may change, or just see, what the model computes with. */
export interface ReferenceHooks {
  /** What a matrix of the layers or the head is multiplied with, in place of the row it should. */
  readonly read?: (matrix: string, row: Row) => Row;
  /** What is kept of the keys, rotated, or the values of a token, `[K * headDim]`. */
  readonly cache?: (row: Row) => Row;
  /** What the loop after `depth` takes of a position, in place of the state that loop `depth` left. */
  readonly state?: (depth: number, position: number, row: Row) => Row;
}

/** Runs a sequence position by position. */
export function referenceRun(
  config: LoopLMConfig,
  weights: ModelWeights,
  inputs: readonly ReferenceInput[],
  readVersion: ReadVersion,
  {
    read = (_, row) => row,
    cache = (row) => row,
    state = (_, __, row) => row,
  }: ReferenceHooks = {},
): readonly ReferenceToken[] {
  const hooks = { read, cache, state };
  const matrix = matrices(weights);
  const head = matrix(
    config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight',
    config.hiddenSize,
  );
  const embedding = matrix('model.embed_tokens.weight', config.hiddenSize);
  const gateWeight = weights.get('model.early_exit_gate.weight');
  const gateBias = weights.get('model.early_exit_gate.bias');
  const finalNorm = [...weights.get('model.norm.weight')!];
  const cached: Cached[] = [];
  return inputs.map(({ id, depth: ran }, position) => {
    const own: Cached = { ran, keys: [], values: [] };
    cached.push(own);
    const token = { hidden: [] as Row[], gateLogits: [] as number[], logits: [] as Row[] };
    let x: Row = embedding[id]!;
    for (let depth = 1; depth <= ran; depth++) {
      (own.keys as number[][][]).push([]);
      (own.values as number[][][]).push([]);
      for (let layer = 0; layer < config.numHiddenLayers; layer++) {
        const versions = cached.map((earlier, index) =>
          index === position ? depth : readVersion(depth, earlier.ran, position),
        );
        x = runLayer(config, weights, matrix, layer, x, { cached, versions, depth, hooks });
      }
      const h = rmsNorm(x, finalNorm, config.rmsNormEps);
      token.hidden.push(h);
      if (gateWeight) token.gateLogits.push(dot([...gateWeight], h) + gateBias![0]!);
      token.logits.push(times(head, read('lm_head.weight', h)));
      if (!config.skipLoopFinalNorm) x = h;
      x = state(depth, position, x);
    }
    return token;
  });
}

type MatrixOf = (name: string, columns: number) => readonly Row[];

function matrices(weights: ModelWeights): MatrixOf {
  const known = new Map<string, readonly Row[]>();
  return (name, columns) => {
    let rows = known.get(name);
    if (!rows) {
      const flat = [...weights.get(name)!];
      rows = Array.from({ length: flat.length / columns }, (_, row) =>
        flat.slice(row * columns, (row + 1) * columns),
      );
      known.set(name, rows);
    }
    return rows;
  };
}

function runLayer(
  config: LoopLMConfig,
  weights: ModelWeights,
  matrix: MatrixOf,
  layer: number,
  x: Row,
  state: {
    readonly cached: readonly Cached[];
    readonly versions: readonly number[];
    readonly depth: number;
    readonly hooks: Required<ReferenceHooks>;
  },
): Row {
  const { hiddenSize, intermediateSize, headDim, numAttentionHeads, numKeyValueHeads } = config;
  const name = (part: string) => `model.layers.${layer}.${part}.weight`;
  const norm = (row: Row, part: string) =>
    rmsNorm(row, [...weights.get(name(part))!], config.rmsNormEps);
  const { read, cache } = state.hooks;
  const project = (part: string, row: Row, columns = hiddenSize) =>
    times(matrix(name(part), columns), read(name(part), row));
  const position = state.cached.length - 1;

  const a = norm(x, 'input_layernorm');
  const rotated = (row: Row) => rotateHeads(row, headDim, position, config.ropeTheta);
  const q = rotated(project('self_attn.q_proj', a));
  const own = state.cached[position]!;
  own.keys[state.depth - 1]![layer] = [...cache(rotated(project('self_attn.k_proj', a)))];
  own.values[state.depth - 1]![layer] = [...cache(project('self_attn.v_proj', a))];
  const mixed: number[] = [];
  for (let h = 0; h < numAttentionHeads; h++) {
    const start = Math.floor(h / (numAttentionHeads / numKeyValueHeads)) * headDim;
    const query = q.slice(h * headDim, (h + 1) * headDim);
    const part = (row: Row) => row.slice(start, start + headDim);
    const seen = state.cached.map(({ keys, values }, index) => {
      const loop = state.versions[index]! - 1;
      return { key: part(keys[loop]![layer]!), value: part(values[loop]![layer]!) };
    });
    const probs = softmax(seen.map(({ key }) => dot(query, key) / Math.sqrt(headDim)));
    for (let j = 0; j < headDim; j++) {
      const column = seen.map(({ value }) => value[j]!);
      mixed.push(dot(probs, column));
    }
  }
  const attended = project('self_attn.o_proj', mixed, numAttentionHeads * headDim);
  const isSandwich = config.architecture === 'ouro';
  const middle = plus(x, isSandwich ? norm(attended, 'input_layernorm_2') : attended);

  const y = norm(middle, 'post_attention_layernorm');
  const up = project('mlp.up_proj', y);
  const inner = project('mlp.gate_proj', y).map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
  const mlp = project('mlp.down_proj', inner, intermediateSize);
  return plus(middle, isSandwich ? norm(mlp, 'post_attention_layernorm_2') : mlp);
}

/** Rotate-half positions: pairs are elements j and j + headDim/2 of each head. */
function rotateHeads(row: Row, headDim: number, position: number, theta: number): number[] {
  const half = headDim / 2;
  const out = [...row];
  for (let start = 0; start < row.length; start += headDim) {
    for (let j = 0; j < half; j++) {
      const angle = position * theta ** ((-2 * j) / headDim);
      const [a, b] = [row[start + j]!, row[start + j + half]!];
      out[start + j] = a * Math.cos(angle) - b * Math.sin(angle);
      out[start + j + half] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return out;
}

function rmsNorm(x: Row, weight: Row, eps: number): number[] {
  const scale = 1 / Math.sqrt(dot(x, x) / x.length + eps);
  return x.map((value, i) => weight[i]! * value * scale);
}

/** Softmax of a row, in float64. */
export function softmax(row: Row): number[] {
  const largest = Math.max(...row);
  const weights = row.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

const dot = (a: Row, b: Row): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const plus = (a: Row, b: Row): number[] => a.map((value, i) => value + b[i]!);
const times = (rows: readonly Row[], x: Row): number[] => rows.map((row) => dot(row, x));
