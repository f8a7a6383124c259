/**
 * What the server needs of a model. `LoopLM` is one; tests of rare cases bring their own.
 */
import type { LoopLM } from '../loop-lm.js';

export type ServedModel = Pick<
  LoopLM,
  | 'config'
  | 'tokenizer'
  | 'tokenizerConfig'
  | 'chatTemplate'
  | 'eosTokenIds'
  | 'samplingDefaults'
  | 'thinksByDefault'
  | 'generate'
  | 'check'
  | 'chatPrompt'
  | 'stats'
  | 'onStep'
  | 'pause'
  | 'resume'
  | 'clearPrefixes'
  | 'updateWeights'
>;
