/**
 * What makes one architecture of looped models differ from another: the block, the boundary between
 * loops, and the names on disk.
 *
 * Attention, MLP, norm, embedding and readout are the same in all of them and stand in loop-lm.ts,
 * which calls these functions for training and inference alike.
 */
import type { Tensor } from '../../graph/index.js';
import type { ArchitectureName, LoopLMConfig } from '../config.js';
import type { ConfigFields } from '../config-fields.js';

/** Norms of a layer that some architecture has. */
export type NormName =
  | 'inputLayernorm'
  | 'inputLayernorm2'
  | 'postAttentionLayernorm'
  | 'postAttentionLayernorm2';

/** Matrices of a layer; every architecture has all of them. */
export type MatrixName = 'qProj' | 'kProj' | 'vProj' | 'oProj' | 'gateProj' | 'upProj' | 'downProj';

/** What a block is written with; rows are `[N, D]`. */
export interface BlockParts {
  norm(name: NormName, x: Tensor): Tensor;
  mlp(x: Tensor): Tensor;
}

/** One layer, cut where attention stands. */
export interface Block {
  /** What attention reads of the stream. */
  attentionInput(x: Tensor, parts: Pick<BlockParts, 'norm'>): Tensor;
  /** The layer's output, from its input and what attention made of it. */
  output(x: Tensor, attended: Tensor, parts: BlockParts): Tensor;
}

/** What happens at the end of a loop; `norm` is the final norm. */
export interface Boundary {
  /** From the last layer's output to the state that the next loop takes. */
  carried(stream: Tensor, norm: (x: Tensor) => Tensor): Tensor;
  /** From that state to h, which exit gate and readout take. */
  read(state: Tensor, norm: (x: Tensor) => Tensor): Tensor;
}

/** The final norm stands between loops, too: state and h are one. */
export const NORM_EVERY_LOOP: Boundary = {
  carried: (stream, norm) => norm(stream),
  read: (state) => state,
};

/** The final norm stands before the readout only. */
export const NORM_AT_READOUT: Boundary = {
  carried: (stream) => stream,
  read: (state, norm) => norm(state),
};

/** What a config holds beyond the keys that all architectures share; `undefined` where it is wrong. */
export interface OwnConfig {
  readonly numLoops: number | undefined;
  readonly exitThreshold: number | undefined;
  readonly exitDepth?: number | undefined;
  readonly skipLoopFinalNorm?: boolean | undefined;
}

export interface Architecture {
  /** `model_type` in config.json. */
  readonly name: ArchitectureName;
  /** The class that config.json names in `architectures`. */
  readonly className: string;
  readonly hasExitGate: boolean;
  readonly block: Block;
  boundary(config: Pick<LoopLMConfig, 'skipLoopFinalNorm'>): Boundary;
  /** Tensors of a layer and their names in a checkpoint, in the order of the release. */
  readonly layerTensors: readonly (readonly [NormName | MatrixName, string])[];
  /** Reads the keys of config.json that are its own, and refuses those that mean another model. */
  readConfig(fields: ConfigFields): OwnConfig;
  /** The same keys, to be written. */
  configJson(config: LoopLMConfig): Readonly<Record<string, unknown>>;
}
