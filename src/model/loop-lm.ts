/**
 * The looped language model, as functions that add to a graph.
 *
 * One stack of layers is applied R times with the same weights. A loop takes the state that the loop
 * before it left; of every state there is an h, which the readout and the exit gate take. How a block
 * is joined and whether state and h differ is said by the architecture (architectures/).
 * Training and inference call the same functions; they differ only in what a query attends to, which
 * they pass in as `attend`. Nothing here knows devices, caches, schedules or losses.
 *
 * Shapes: N packed tokens, D hidden, H query heads, K key-value heads, Dh head dim, V vocabulary.
 * Source: docs/math.md (block, loop, gate).
 */
import type { Tensor } from '../graph/index.js';
import { add, linear, mul, reshape, rmsNorm, rope, silu } from '../graph/index.js';
import type { MatrixName, NormName } from './architectures/index.js';
import { architectureOf } from './architectures/index.js';
import type { LoopLMConfig } from './config.js';
import type { ParameterSpec } from './params.js';
import { isMatrix, parameterSpecs } from './params.js';
import type { Weight } from './weights.js';
import { floatWeight, project } from './weights.js';

export interface LayerParams extends Readonly<Record<MatrixName, Weight>> {
  /** `[D]` each; which there are is the architecture's business. */
  readonly norms: Readonly<Partial<Record<NormName, Tensor>>>;
}

export interface ExitGateParams {
  readonly weight: Tensor; // [1, D]
  readonly bias: Tensor; // [1]
}

export interface LoopParams {
  readonly layers: readonly LayerParams[];
  readonly norm: Tensor; // [D]
  /** Absent in an architecture without one. */
  readonly exitGate?: ExitGateParams;
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
  const get = (name: string) => leaf(byName.get(name)!);
  const { layerTensors, hasExitGate } = architectureOf(config);
  const layers = Array.from({ length: config.numHiddenLayers }, (_, layerIndex): LayerParams => {
    const norms: Partial<Record<NormName, Tensor>> = {};
    const matrices: Partial<Record<MatrixName, Weight>> = {};
    for (const [name] of layerTensors) {
      const weight = get(`layers.${layerIndex}.${name}`);
      if (isMatrix(name)) matrices[name] = weight;
      else norms[name] = floatWeight(weight);
    }
    return { norms, ...(matrices as Record<MatrixName, Weight>) };
  });
  const float = (name: string) => floatWeight(get(name));
  return {
    layers,
    norm: float('norm'),
    ...(hasExitGate && {
      exitGate: { weight: float('exitGate.weight'), bias: float('exitGate.bias') },
    }),
  };
}

/**
 * What a layer's queries read: gets `q [N, H, Dh]`, `k` and `v [N, K, Dh]`, q and k rotated, and returns
 * `[N, H, Dh]`.
 */
export type Attend = (layerIndex: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

export interface LoopContext {
  readonly config: LoopLMConfig;
  readonly cos: Tensor; // [N, 1, Dh/2]
  readonly sin: Tensor; // [N, 1, Dh/2]
  readonly attend: Attend;
  /** Is shown what matrices read, while the graph is made: `input [N, in]` and all that read it. */
  readonly observe?: (input: Tensor, matrices: readonly Weight[]) => void;
}

/** The norms of a layer as a function. */
function layerNorm({ norms }: LayerParams, { rmsNormEps }: LoopLMConfig) {
  return (name: NormName, x: Tensor) => rmsNorm(x, norms[name]!, rmsNormEps);
}

/**
 * The first half of a layer, from its input `x [N, D]`: queries `[N, H*Dh]`, keys and values
 * `[N, K*Dh]`, without positions. Rotating them is the business of who attends.
 */
export function attentionProjections(
  x: Tensor,
  layer: LayerParams,
  { config, observe }: Pick<LoopContext, 'config' | 'observe'>,
): readonly [q: Tensor, k: Tensor, v: Tensor] {
  const read = architectureOf(config).block.attentionInput(x, { norm: layerNorm(layer, config) });
  const [q, k, v] = times(read, [layer.qProj, layer.kProj, layer.vProj], observe);
  return [q!, k!, v!];
}

/** The second half: from its input `x [N, D]` and the attended `heads [N, H*Dh]` to its output. */
export function layerOutput(
  x: Tensor,
  heads: Tensor,
  layer: LayerParams,
  { config, observe }: Pick<LoopContext, 'config' | 'observe'>,
): Tensor {
  const [attended] = times(heads, [layer.oProj], observe);
  const mlp = (y: Tensor): Tensor => {
    const [gate, up] = times(y, [layer.gateProj, layer.upProj], observe);
    return times(mul(silu(gate!), up!), [layer.downProj], observe)[0]!; // inner is [N, F]
  };
  return architectureOf(config).block.output(x, attended!, { norm: layerNorm(layer, config), mlp });
}

function times(
  input: Tensor,
  matrices: readonly Weight[],
  observe: LoopContext['observe'],
): readonly Tensor[] {
  observe?.(input, matrices);
  return project(input, matrices);
}

/** One layer: attention and MLP, joined as its architecture says. `x` and result `[N, D]`. */
function block(x: Tensor, layer: LayerParams, layerIndex: number, context: LoopContext): Tensor {
  const { attend, config, cos, sin } = context;
  const { numAttentionHeads: H, numKeyValueHeads: K, headDim } = config;
  const N = x.shape[0]!;
  const [q, k, v] = attentionProjections(x, layer, context);
  const rotated = (rows: Tensor, heads: number) =>
    rope(reshape(rows, [N, heads, headDim]), cos, sin);
  const heads = attend(layerIndex, rotated(q, H), rotated(k, K), reshape(v, [N, K, headDim]));
  return layerOutput(x, reshape(heads, [N, H * headDim]), layer, context);
}

/** One pass through the whole stack: from the state `[N, D]` that a loop takes to that of the next. */
export function loop(x: Tensor, params: LoopParams, context: LoopContext): Tensor {
  let stream = x;
  params.layers.forEach((layer, layerIndex) => {
    stream = block(stream, layer, layerIndex, context);
  });
  return carriedState(stream, params, context.config);
}

/** The state that the next loop takes, from the output of the last layer; both `[N, D]`. */
export function carriedState(stream: Tensor, params: LoopParams, config: LoopLMConfig): Tensor {
  return architectureOf(config).boundary(config).carried(stream, finalNorm(params, config));
}

/**
 * h of a state, `[N, D]` both: what exit gate and readout take. The state itself, the same tensor,
 * where the final norm stands between loops.
 */
export function hiddenOf(state: Tensor, params: LoopParams, config: LoopLMConfig): Tensor {
  return architectureOf(config).boundary(config).read(state, finalNorm(params, config));
}

function finalNorm({ norm }: LoopParams, { rmsNormEps }: LoopLMConfig) {
  return (x: Tensor) => rmsNorm(x, norm, rmsNormEps);
}

/** Exit gate before the sigmoid: `h [N, D]` to `[N]`. */
export function gateLogit(h: Tensor, { weight, bias }: ExitGateParams): Tensor {
  return reshape(add(linear(h, weight), bias), [h.shape[0]!]);
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
