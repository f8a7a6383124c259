/**
 * Training data: documents, packed batches and the sources that a trainer reads.
 *
 * The one idea: a batch is a pure function of a seed and two indices, so nothing about reading has
 * to be saved to resume a run. Does not know models, losses or files.
 */
export { IGNORED_TARGET } from './batch.js';
export type { BatchSource, TrainingBatch, TrainingDocument } from './batch.js';
export { holdOut } from './hold-out.js';
export { generatedSource } from './generated-source.js';
export type { GeneratedSourceOptions } from './generated-source.js';
export { documentsFromJsonLines } from './jsonl.js';
export type { JsonLinesOptions } from './jsonl.js';
export { packDocuments } from './packing.js';
export type { PackedDocuments, PackingOptions } from './packing.js';
export { generatorFor } from '../util/random.js';
export type { TextDocuments, TextDocumentsOptions } from './text-documents.js';
export { textDocuments } from './text-documents.js';
export { windowsOf } from './windows.js';
