/**
 * Models of the Hugging Face hub on disk: `pullModel` downloads, `resolveModel` also takes folders.
 */
export { NODE_PLATFORM } from './platform.js';
export type { HubPlatform } from './platform.js';
export { isHubAddress, pullDataset } from './dataset.js';
export { pullModel } from './pull.js';
export type { PulledModel, PullOptions, PullProgress } from './pull.js';
export { resolveModel } from './resolve.js';
export type { ResolvedModel } from './resolve.js';
export { holdHubModel, listHubModels } from './cached-models.js';
export { hubCacheFolder } from './settings.js';
export type { CachedFile } from './cache.js';
