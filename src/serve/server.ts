/** What the routes of one server share. */
import type { ChatTemplate } from '../tokenizer/index.js';
import type { Admission } from './admission.js';
import type { Control, RunningRequests } from './control.js';
import type { Metrics } from './metrics.js';
import type { ServeSettings } from './options.js';
import type { ServedModel } from './served-model.js';

export interface Server {
  readonly model: ServedModel;
  readonly settings: ServeSettings;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly running: RunningRequests;
  readonly control: Control;
  /** That of the settings, or else the model's own. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** Bytes of the longest text that can fit the context. */
  readonly maxTextBytes: number;
  /** When the server began, in seconds of Unix time. */
  readonly created: number;
}

/** One request on its way through the server. */
export interface Scope {
  /** As in `x-request-id`. */
  readonly id: string;
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal;
  /** Milliseconds of a steady clock. */
  readonly arrivedAt: number;
}

/** Tokens of prompt and answer together. */
export function maxModelLength({ model }: Server): number {
  return model.config.maxPositionEmbeddings;
}
