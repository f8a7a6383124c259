/** What machines that work together share: records with compare-and-set, and objects. */
export { getByDigest, putByDigest } from './objects.js';
export type { SharedStore, StoredRecord } from './store.js';
