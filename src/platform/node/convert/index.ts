/**
 * Converting checkpoints to the formats that looplm runs: `convertModel` into a folder,
 * `convertedFolder` through a cache.
 */
export { cacheRoot, conversionsFolder, convertedFolder } from './cache.js';
export type { ConversionCacheOptions } from './cache.js';
export { holdConversion, listConversions } from './cached-conversions.js';
export { convertModel } from './convert.js';
export type { ConvertOptions } from './convert.js';
export type { ConversionReport, TensorReport } from './report.js';
export { readConversionReport } from './report.js';
export type { ConversionSettings } from './settings.js';
export type { ConversionProgress } from './write-weights.js';
