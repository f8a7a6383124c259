/** Low-rank adapters: settings, values, and the files of PEFT. */
export type { Adapter } from './adapter.js';
export { adaptedWeights, besideWeights, initializeAdapter, mergeAdapter } from './adapter.js';
export { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, loadAdapter, saveAdapter } from './files.js';
export type { SaveAdapterOptions } from './files.js';
export type { LoraModule, LoraSettings } from './settings.js';
export { loraModules, loraSettings } from './settings.js';
