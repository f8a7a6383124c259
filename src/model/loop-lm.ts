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
  parameter,
  reshape,
  rmsNorm,
  rope,
  silu,
  softmax,
  transpose,
} from '../graph/index.js';
import type { LoopLMConfig } from './config.js';
import type { ModelWeights, ParameterSpec } from './params.js';
import { parameterSpecs } from './params.js';

export interface LayerParams {
  readonly inputLayernorm: Tensor; // [D]
  readonly inputLayernorm2: Tensor; // [D]
  readonly qProj: Tensor; // [H*Dh, D]
  readonly kProj: Tensor; // [K*Dh, D]
  readonly vProj: Tensor; // [K*Dh, D]
  readonly oProj: Tensor; // [D, H*Dh]
  readonly postAttentionLayernorm: Tensor; // [D]
  readonly postAttentionLayernorm2: Tensor; // [D]
  readonly gateProj: Tensor; // [F, D]
  readonly upProj: Tensor; // [F, D]
  readonly downProj: Tensor; // [D, F]
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
  leaf: (spec: ParameterSpec) => Tensor,
): LoopParams {
  const byName = new Map(parameterSpecs(config).map((spec) => [spec.name, spec]));
  const get = (name: string) => leaf(byName.get(name)!);
  const layers = Array.from({ length: config.numHiddenLayers }, (_, layerIndex): LayerParams => {
    const of = (name: string) => get(`layers.${layerIndex}.${name}`);
    return {
      inputLayernorm: of('inputLayernorm'),
      inputLayernorm2: of('inputLayernorm2'),
      qProj: of('qProj'),
      kProj: of('kProj'),
      vProj: of('vProj'),
      oProj: of('oProj'),
      postAttentionLayernorm: of('postAttentionLayernorm'),
      postAttentionLayernorm2: of('postAttentionLayernorm2'),
      gateProj: of('gateProj'),
      upProj: of('upProj'),
      downProj: of('downProj'),
    };
  });
  const exitGate = { weight: get('exitGate.weight'), bias: get('exitGate.bias') };
  return { layers, norm: get('norm'), exitGate };
}

/** Leaves that are constants of the program: for `loopParams` and the head where nothing is trained. */
export function constantParams(weights: ModelWeights): (spec: ParameterSpec) => Tensor {
  const known = new Map<string, Tensor>();
  return ({ hfName, shape }) => {
    const tensor = known.get(hfName) ?? parameter(hfName, 'f32', shape, weights.get(hfName)!);
    known.set(hfName, tensor);
    return tensor;
  };
}

/** What a layer's queries read: gets `q [N, H, Dh]`, `k` and `v [N, K, Dh]`, returns `[N, H, Dh]`. */
export type Attend = (layerIndex: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

export interface LoopContext {
  readonly config: LoopLMConfig;
  readonly cos: Tensor; // [N, 1, Dh/2]
  readonly sin: Tensor; // [N, 1, Dh/2]
  readonly attend: Attend;
}

/** One layer: attention and MLP, each between two norms (sandwich). `x` and result `[N, D]`. */
export function block(
  x: Tensor,
  layer: LayerParams,
  layerIndex: number,
  { config, cos, sin, attend }: LoopContext,
): Tensor {
  const { rmsNormEps, numAttentionHeads: H, numKeyValueHeads: K, headDim } = config;
  const N = x.shape[0]!;
  const normed = rmsNorm(x, layer.inputLayernorm, rmsNormEps);
  const q = rope(reshape(linear(normed, layer.qProj), [N, H, headDim]), cos, sin);
  const k = rope(reshape(linear(normed, layer.kProj), [N, K, headDim]), cos, sin);
  const v = reshape(linear(normed, layer.vProj), [N, K, headDim]);
  const heads = reshape(attend(layerIndex, q, k, v), [N, H * headDim]);
  const attended = linear(heads, layer.oProj);
  const middle = add(x, rmsNorm(attended, layer.inputLayernorm2, rmsNormEps));

  const y = rmsNorm(middle, layer.postAttentionLayernorm, rmsNormEps);
  const inner = mul(silu(linear(y, layer.gateProj)), linear(y, layer.upProj)); // [N, F]
  const mlp = linear(inner, layer.downProj);
  return add(middle, rmsNorm(mlp, layer.postAttentionLayernorm2, rmsNormEps));
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
export function readout(h: Tensor, head: Tensor): Tensor {
  return linear(h, head);
}

/** The tensor that reads logits out, `[V, D]`: the embedding where the head is tied to it. */
export function headParam(config: LoopLMConfig, leaf: (spec: ParameterSpec) => Tensor): Tensor {
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
