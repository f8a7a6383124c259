/**
 * Training data: documents, packed batches and the sources that a trainer reads.
 *
 * The one idea: a batch is a pure function of a seed and two indices, so nothing about reading has
 * to be saved to resume a run. Does not know models, losses or paths: files are handed in.
 */
export { IGNORED_TARGET } from './batch.js';
export type { BatchSource, TrainingBatch, TrainingDocument } from './batch.js';
export { chatDocuments } from './chat/chat-documents.js';
export type { ChatDocumentsOptions } from './chat/chat-documents.js';
export { chatLines, cutToRows } from './chat/chat-lines.js';
export type { ChatLine, ChatLinesOptions } from './chat/chat-lines.js';
export { CHAT_SHAPES, parseConversation } from './chat/conversation.js';
export type { Conversation } from './chat/conversation.js';
export { CORPUS_FORMATS, corpusTexts } from './corpus/documents.js';
export type { CorpusFormat, CorpusOptions, CorpusText } from './corpus/documents.js';
export { parquetLines, parquetParts } from './corpus/parquet.js';
export type { ParquetPart } from './corpus/parquet.js';
export type { Stretch } from './corpus/stretch.js';
export { holdOut, isHeldOut } from './hold-out.js';
export { generatedSource } from './generated-source.js';
export type { GeneratedSourceOptions } from './generated-source.js';
export { documentsFromJsonLines } from './jsonl.js';
export type { JsonLinesOptions } from './jsonl.js';
export { mixtureSource } from './mixture-source.js';
export type { MixtureSourceOptions } from './mixture-source.js';
export { BatchPacker, packDocuments } from './packing.js';
export type { PackedDocuments, PackingOptions } from './packing.js';
export { planRows } from './row-plan.js';
export type { RowPiece, RowPlan } from './row-plan.js';
export { documentRows, shardRows } from './row-sets.js';
export type { RowSet } from './row-sets.js';
export { encodeShard } from './shards/format.js';
export type { ShardContent, ShardHeader, TokenArray } from './shards/format.js';
export { Shard } from './shards/reader.js';
export type { RangeReader } from './shards/reader.js';
export { generatorFor } from '../util/random.js';
export type { TextDocuments, TextDocumentsOptions } from './text-documents.js';
export { textDocuments } from './text-documents.js';
export { windowsOf } from './windows.js';
