/** A looped model over HTTP: `Request` to `Response`, as OpenAI's clients ask. */
export type { ServeApp } from './app.js';
export { createServeApp } from './app.js';
export { errorBody } from './errors.js';
export type { Capacity } from './capacity.js';
export type { Asset, Log, ServeOptions, TrainerSettings } from './options.js';
export { LOGPROBS_MODES } from './options.js';
export type { ServedModel } from './served-model.js';
