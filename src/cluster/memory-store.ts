/** A store in memory, which several workers of one process share: for tests and experiments. */
import type { MemoryQueue } from './memory-queue.js';
import { memoryQueue } from './memory-queue.js';
import type { SharedStore } from './store.js';

export interface MemoryStore extends SharedStore {
  readonly records: Map<string, { readonly text: string; readonly revision: number }>;
  readonly objects: Map<string, Uint8Array>;
  queue(name: string, silenceSeconds?: number): Promise<MemoryQueue>;
}

/** An empty store; `records` and `objects` show what is in it. */
export function memoryStore(name = 'memory'): MemoryStore {
  const records: MemoryStore['records'] = new Map();
  const objects: MemoryStore['objects'] = new Map();
  const queues = new Map<string, MemoryQueue>();
  let revisions = 0;
  const set = (key: string, text: string) => records.set(key, { text, revision: ++revisions });
  return {
    name,
    records,
    objects,
    read: async (key) => records.get(key),
    async write(key, text, revision) {
      if ((records.get(key)?.revision ?? 0) !== revision) return false;
      set(key, text);
      return true;
    },
    replace: async (key, text) => void set(key, text),
    remove: async (key) => void records.delete(key),
    async putObject(key, bytes) {
      if (!objects.has(key)) objects.set(key, bytes.slice());
    },
    getObject: async (key) => objects.get(key)?.slice(),
    removeObject: async (key) => void objects.delete(key),
    async queue(key) {
      const queue = queues.get(key) ?? memoryQueue();
      queues.set(key, queue);
      return queue;
    },
    objectNames: async () => [...objects.keys()],
    close: async () => {},
  };
}
