/**
 * What looplm needs of Node.js: files on disk. The only folder of the library, beside the command
 * line, that imports `node:` modules.
 */
export type { Lock, LockOptions } from './files/index.js';
export {
  failRead,
  fileExists,
  isGzip,
  readGzip,
  withoutGzip,
  nodeFolder,
  openFile,
  prepareWriting,
  readTextFile,
  takeLock,
  writeError,
  writeFileAtomic,
} from './files/index.js';
export { connectRun } from './connect-run.js';
export { createNodeDevice } from './device.js';
export type { MergeOptions, MergeReport } from './merge-adapter.js';
export { mergeToFolder } from './merge-adapter.js';
export { bundledModelPath } from './bundled-model.js';
export type { LoadProgress, PretrainedOptions } from './pretrained-options.js';
export { availableMemory, defaultFormat, openPretrained, planLoading } from './pretrained.js';
export { isHubAddress, NODE_PLATFORM, pullDataset, pullModel, resolveModel } from './hub/index.js';
export type {
  CachedFile,
  HubPlatform,
  PulledModel,
  PullOptions,
  PullProgress,
  ResolvedModel,
} from './hub/index.js';
export {
  cacheFolders,
  holdStoredModels,
  listStoredModels,
  pickStoredModel,
} from './stored-models.js';
export type { CacheFolders, PickedModel } from './stored-models.js';
export type { HeldModel, StoredModel, StoredRevision } from './stored-model.js';
export { writeRandomCheckpoint } from './random-checkpoint.js';
export type { RandomCheckpointOptions } from './random-checkpoint.js';
export { cacheRoot, convertedFolder, convertModel, readConversionReport } from './convert/index.js';
export type {
  ConversionCacheOptions,
  ConversionProgress,
  ConversionReport,
  ConversionSettings,
  ConvertOptions,
  TensorReport,
} from './convert/index.js';
export type { CorpusFile } from './shards/find-files.js';
export { findCorpusFiles } from './shards/find-files.js';
export type { ShardManifest } from './shards/manifest.js';
export type { ShardFolder } from './shards/open-shards.js';
export { openShards } from './shards/open-shards.js';
export type { TokenizeOptions } from './shards/tokenize.js';
export { tokenizeCorpus } from './shards/tokenize.js';
export { packageVersion } from './version.js';
