/**
 * How a model is loaded by its name: options of `LoopLM.fromPretrained`, apart from the loader, so that
 * the facade can name them.
 */
import type { MemoryPlan, PlannedKvPolicy } from '../../model/index.js';
import type { DeviceOptions } from '../../runtime/index.js';
import type { KvDtype } from '../../util/kv-dtype.js';
import type { ConversionSettings } from './convert/settings.js';

/** What is under way, and how far it is. */
export interface LoadProgress {
  readonly stage: 'download' | 'convert';
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** How to load a model. Everything has a default; `undefined` means the default. */
export interface PretrainedOptions extends DeviceOptions {
  /**
   * Format of the weights. `auto` (default) takes a converted model as it is, a small checkpoint in
   * f32 and converts a large one to q8. The others convert once, into the cache.
   */
  readonly dtype?: 'auto' | ConversionSettings['dtype'] | undefined;
  /** Branch, tag or commit on the hub. Default `main`. */
  readonly revision?: string | undefined;
  /** Cache of downloads, as HF_HUB_CACHE. */
  readonly cacheDir?: string | undefined;
  /** Only what is cached; as HF_HUB_OFFLINE. */
  readonly offline?: boolean | undefined;
  /** Cache of converted models, as LOOPLM_CACHE. */
  readonly convertedDir?: string | undefined;
  /** Storage of keys and values. Default i8 for models in q4 or q8, f16 in f16, else f32. */
  readonly kvDtype?: KvDtype | undefined;
  /** Default by-layer on the CPU, by-loop on a GPU. */
  readonly partition?: 'by-layer' | 'by-loop' | undefined;
  /** Positions, sequences and policy that memory is planned for. Default 4096, 1, per-loop. */
  readonly context?: number | undefined;
  readonly numSequences?: number | undefined;
  readonly kvPolicy?: PlannedKvPolicy | undefined;
  readonly progress?: ((progress: LoadProgress) => void) | undefined;
  /** Called with a sentence if another process does the same, which is waited for. */
  readonly onWait?: ((message: string) => void) | undefined;
  /** Called with the plan before anything is loaded. */
  readonly onPlan?: ((plan: MemoryPlan) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}
