/** What machines that work together share: records with compare-and-set, objects, and queues of work. */
export type { MemoryStore } from './memory-store.js';
export { memoryStore } from './memory-store.js';
export { getByDigest, putByDigest } from './objects.js';
export type { QueuedJob, WorkQueue } from './queue.js';
export type { SharedStore, StoredRecord } from './store.js';
