/**
 * The looped language model, as functions that add to a graph.
 *
 * One stack of layers is applied R times with the same weights. After each pass the final norm gives
 * h, which is three things at once: the input of the next pass, of the readout, and of the exit gate.
 * Training and inference call the same functions; they differ only in what a query attends to, which
 * they pass in as `attend`. Nothing here knows devices, caches, schedules or losses.
 *
 * Shapes: N packed tokens, D hidden, H query heads, K key-value heads, Dh head dim, V vocabulary.
 * Source: Ouro (arXiv 2510.25741) and its released code; docs/math.md (block, gate).
 */
import type { Tensor } from '../graph/index.js';
import {
  add,
  linear,
  matmul,
  mul,
  reshape,
  rmsNorm,
  rope,
  silu,
  softmax,
  transpose,
} from '../graph/index.js';
import type { LoopLMConfig } from './config.js';
import type { ParameterSpec } from './params.js';
import { parameterSpecs } from './params.js';
import type { Weight } from './weights.js';
import { floatWeight, project, projectJoined } from './weights.js';

export interface LayerParams {
  readonly inputLayernorm: Tensor; // [D]
  readonly inputLayernorm2: Tensor; // [D]
  readonly qProj: Weight; // [H*Dh, D]
  readonly kProj: Weight; // [K*Dh, D]
  readonly vProj: Weight; // [K*Dh, D]
  readonly oProj: Weight; // [D, H*Dh]
  readonly postAttentionLayernorm: Tensor; // [D]
  readonly postAttentionLayernorm2: Tensor; // [D]
  readonly gateProj: Weight; // [F, D]
  readonly upProj: Weight; // [F, D]
  readonly downProj: Weight; // [D, F]
}

export interface LoopParams {
  readonly layers: readonly LayerParams[];
  readonly norm: Tensor; // [D]
  readonly exitGate: { readonly weight: Tensor; readonly bias: Tensor }; // [1, D], [1]
}

/**
 * The tensors of the shared stack and its gate.
 *
 * @param leaf - gives the tensor of a parameter: an input when it is trained, a constant when not
 */
export function loopParams(
  config: LoopLMConfig,
  leaf: (spec: ParameterSpec) => Weight,
): LoopParams {
  const byName = new Map(parameterSpecs(config).map((spec) => [spec.name, spec]));
  const get = (name: string) => floatWeight(leaf(byName.get(name)!));
  const layers = Array.from({ length: config.numHiddenLayers }, (_, layerIndex): LayerParams => {
    const norm = (name: string) => get(`layers.${layerIndex}.${name}`);
    const matrix = (name: string) => leaf(byName.get(`layers.${layerIndex}.${name}`)!);
    return {
      inputLayernorm: norm('inputLayernorm'),
      inputLayernorm2: norm('inputLayernorm2'),
      qProj: matrix('qProj'),
      kProj: matrix('kProj'),
      vProj: matrix('vProj'),
      oProj: matrix('oProj'),
      postAttentionLayernorm: norm('postAttentionLayernorm'),
      postAttentionLayernorm2: norm('postAttentionLayernorm2'),
      gateProj: matrix('gateProj'),
      upProj: matrix('upProj'),
      downProj: matrix('downProj'),
    };
  });
  const exitGate = { weight: get('exitGate.weight'), bias: get('exitGate.bias') };
  return { layers, norm: get('norm'), exitGate };
}

/** What a layer's queries read: gets `q [N, H, Dh]`, `k` and `v [N, K, Dh]`, returns `[N, H, Dh]`. */
export type Attend = (layerIndex: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

export interface LoopContext {
  readonly config: LoopLMConfig;
  readonly cos: Tensor; // [N, 1, Dh/2]
  readonly sin: Tensor; // [N, 1, Dh/2]
  readonly attend: Attend;
  /** Is shown what matrices read, while the graph is made: `input [N, in]` and all that read it. */
  readonly observe?: (input: Tensor, matrices: readonly Weight[]) => void;
}

/** The first half of a layer without rotary positions: `[N, (H + 2K) * Dh]`, queries, keys, values. */
export function attentionProjections(
  x: Tensor,
  layer: LayerParams,
  { rmsNormEps }: Pick<LoopLMConfig, 'rmsNormEps'>,
): Tensor {
  const normed = rmsNorm(x, layer.inputLayernorm, rmsNormEps);
  return projectJoined(normed, [layer.qProj, layer.kProj, layer.vProj]);
}

/** What a layer's attention takes: `q [N, H, Dh]`, `k` and `v [N, K, Dh]`, q and k rotated. */
interface AttentionInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** The first half of a layer: from its input `x [N, D]` to what attention takes. */
function attentionInputs(
  x: Tensor,
  layer: LayerParams,
  { config, cos, sin, observe }: Omit<LoopContext, 'attend'>,
): AttentionInputs {
  const { rmsNormEps, numAttentionHeads: H, numKeyValueHeads: K, headDim } = config;
  const N = x.shape[0]!;
  const normed = rmsNorm(x, layer.inputLayernorm, rmsNormEps);
  const [q, k, v] = times(normed, [layer.qProj, layer.kProj, layer.vProj], observe);
  return {
    q: rope(reshape(q!, [N, H, headDim]), cos, sin),
    k: rope(reshape(k!, [N, K, headDim]), cos, sin),
    v: reshape(v!, [N, K, headDim]),
  };
}

/** The second half: from its input `x [N, D]` and the attended `heads [N, H*Dh]` to its output. */
export function layerOutput(
  x: Tensor,
  heads: Tensor,
  layer: LayerParams,
  { config: { rmsNormEps }, observe }: Pick<LoopContext, 'config' | 'observe'>,
): Tensor {
  const [attended] = times(heads, [layer.oProj], observe);
  const middle = add(x, rmsNorm(attended!, layer.inputLayernorm2, rmsNormEps));

  const y = rmsNorm(middle, layer.postAttentionLayernorm, rmsNormEps);
  const [gate, up] = times(y, [layer.gateProj, layer.upProj], observe);
  const [mlp] = times(mul(silu(gate!), up!), [layer.downProj], observe); // inner is [N, F]
  return add(middle, rmsNorm(mlp!, layer.postAttentionLayernorm2, rmsNormEps));
}

function times(
  input: Tensor,
  matrices: readonly Weight[],
  observe: LoopContext['observe'],
): readonly Tensor[] {
  observe?.(input, matrices);
  return project(input, matrices);
}

/** One layer: attention and MLP, each between two norms (sandwich). `x` and result `[N, D]`. */
export function block(
  x: Tensor,
  layer: LayerParams,
  layerIndex: number,
  context: LoopContext,
): Tensor {
  const { numAttentionHeads: H, headDim } = context.config;
  const { q, k, v } = attentionInputs(x, layer, context);
  const heads = reshape(context.attend(layerIndex, q, k, v), [x.shape[0]!, H * headDim]);
  return layerOutput(x, heads, layer, context);
}

/** One pass through the whole stack and the final norm: h of this loop from h of the last. */
export function loop(x: Tensor, params: LoopParams, context: LoopContext): Tensor {
  let stream = x;
  params.layers.forEach((layer, layerIndex) => {
    stream = block(stream, layer, layerIndex, context);
  });
  return rmsNorm(stream, params.norm, context.config.rmsNormEps);
}

/** Exit gate before the sigmoid: `h [N, D]` to `[N]`. */
export function gateLogit(h: Tensor, { exitGate }: LoopParams): Tensor {
  return reshape(add(linear(h, exitGate.weight), exitGate.bias), [h.shape[0]!]);
}

/** Logits of the next token: `h [N, D]`, head `[V, D]` to `[N, V]`. */
export function readout(h: Tensor, head: Weight): Tensor {
  return project(h, [head])[0]!;
}

/** The weight that reads logits out, `[V, D]`: the embedding where the head is tied to it. */
export function headParam(config: LoopLMConfig, leaf: (spec: ParameterSpec) => Weight): Weight {
  const headName = config.tieWordEmbeddings ? 'embedTokens' : 'lmHead';
  return leaf(parameterSpecs(config).find(({ name }) => name === headName)!);
}

/**
 * Attention of `rows` independent sequences of equal length over themselves.
 *
 * @param q - `[rows*T, H, Dh]`, rows one after the other
 * @param k - `[rows*T, K, Dh]`, as is `v`
 * @param bias - added to the scores, broadcastable to `[rows, H, T, T]`; minus infinity hides
 * @returns `[rows*T, H, Dh]`
 */
export function selfAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { rows, bias }: { readonly rows: number; readonly bias: Tensor },
): Tensor {
  const [N, H, headDim] = q.shape as [number, number, number];
  const K = k.shape[1] as number;
  const T = N / rows;
  // A group of H/K query heads shares a kv head; the group is an axis of its own.
  const split = (x: Tensor, heads: number) =>
    transpose(reshape(x, [rows, T, heads, headDim]), [0, 2, 1, 3]);
  const queries = reshape(split(q, H), [rows * K, H / K, T, headDim]);
  const keys = reshape(split(k, K), [rows * K, 1, T, headDim]);
  const values = reshape(split(v, K), [rows * K, 1, T, headDim]);
  const scores = matmul(queries, keys, { transposeB: true, alpha: headDim ** -0.5 });
  const weights = softmax(add(reshape(scores, [rows, H, T, T]), bias));
  const mixed = matmul(reshape(weights, [rows * K, H / K, T, T]), values);
  return reshape(transpose(reshape(mixed, [rows, H, T, headDim]), [0, 2, 1, 3]), [N, H, headDim]);
}
