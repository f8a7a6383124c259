/** Paged keys and values with a WebAssembly attention kernel for few query rows. */
export type { HelperStart, HelperThread, SpawnHelper } from './helper.js';
export { serveAttention } from './helper.js';
export type { AttentionBatch, KvMemorySpec } from './kv-memory.js';
export { KvMemory } from './kv-memory.js';
export type { AttentionFeeds, AttentionLimits, RoutedBatch } from './paged-attention.js';
export { PagedAttention } from './paged-attention.js';
export type { AttentionRows, RowAngles } from './rotary.js';
export { rotatedRows } from './rotary.js';
