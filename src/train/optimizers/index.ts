/** Optimizers by the settings that name them. A new one is a file here and a line in this table. */
import type { AdamWOptions } from './adamw.js';
import { adamW } from './adamw.js';
import { averaged } from './averaging.js';
import type { MuonOptions } from './muon.js';
import { muon } from './muon.js';
import type { Optimizer } from './optimizer.js';

export type { AdamWOptions } from './adamw.js';
export { AVERAGE } from './averaging.js';
export type { MuonOptions } from './muon.js';
export type { Optimizer, ParameterUpdate, Slot, UpdateMoment, UpdateRule } from './optimizer.js';
export { CompiledUpdate } from './compiled-update.js';
export { accumulateOutputs } from './update-program.js';

interface Averaging {
  /** Decay of an exponential average of the weights, which is then the result. Default: none. */
  readonly averageDecay?: number | undefined;
}

/** How weights follow from gradients, as a file says it. Without a kind it is AdamW. */
export type OptimizerSettings =
  | (AdamWOptions & Averaging & { readonly kind?: 'adamw' | undefined })
  | (MuonOptions & Averaging & { readonly kind: 'muon' });

export function optimizerOf(settings: OptimizerSettings | Optimizer): Optimizer {
  if ('step' in settings) return settings;
  const optimizer = settings.kind === 'muon' ? muon(settings) : adamW(settings);
  const { averageDecay } = settings;
  return averageDecay === undefined ? optimizer : averaged(optimizer, averageDecay);
}
