/**
 * What the measured processes are asked and answer, one JSON object a line: looplm's (looplm-step.ts)
 * and PyTorch's (torch_step.py) speak the same.
 */
import type { LoopLMConfig } from 'looplm/model';

/** The first line: what to build. It is answered by `Ready`. */
export interface Setup {
  readonly config: LoopLMConfig;
  readonly rows: number;
  readonly length: number;
  readonly dtype: 'f32' | 'bf16';
  /** Of PyTorch only: whether layers are compiled. */
  readonly compiled?: boolean;
  readonly threads: number;
  readonly beta: number;
  readonly seed: number;
  /** Safetensors file in float32 with the names of Hugging Face. */
  readonly checkpoint: string;
}

export interface Ready {
  readonly versions: Readonly<Record<string, string>>;
}

/** Every other line. */
export type Request =
  | {
      readonly trainSteps: number;
      /** `rows x length`, flat; targets are shifted already. */
      readonly ids: readonly number[];
      readonly targets: readonly number[];
    }
  /** Of PyTorch only: GFLOP/s of a product of square matrices of this side, in its dtype. */
  | { readonly product: number }
  | { readonly quit: true };

/** One entry a train step; a loss is the one before it. */
export interface Steps {
  readonly seconds: readonly number[];
  readonly losses: readonly number[];
}

export interface Product {
  readonly gflops: number;
}
