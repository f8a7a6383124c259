/** A queue of jobs in memory, for several workers of one process. */
import type { WorkQueue } from './queue.js';

export interface MemoryQueue extends WorkQueue {
  /** The jobs that nobody holds, oldest first. */
  readonly waiting: readonly string[];
  /** Gives all jobs that are held to others, as if their holders had been silent for too long. */
  expire(): void;
}

interface Entry {
  readonly text: string;
}

export function memoryQueue(): MemoryQueue {
  let waiting: Entry[] = [];
  const held = new Set<Entry>();
  let sleeping: (() => void)[] = [];
  const add = (entries: readonly Entry[], isOld: boolean) => {
    waiting = isOld ? [...entries, ...waiting] : [...waiting, ...entries];
    const sleepers = sleeping;
    sleeping = [];
    for (const wake of sleepers) wake();
  };
  const job = (entry: Entry) => {
    held.add(entry);
    return {
      text: entry.text,
      keep() {},
      async complete() {
        // one that was given to another meanwhile is done all the same
        held.delete(entry);
        waiting = waiting.filter((other) => other !== entry);
      },
      async giveBack() {
        if (held.delete(entry)) add([entry], true);
      },
    };
  };
  return {
    get waiting() {
      return waiting.map(({ text }) => text);
    },
    expire() {
      const all = [...held];
      held.clear();
      add(all, true);
    },
    put: async (text) => add([{ text }], false),
    async take(waitSeconds) {
      if (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 1000 * waitSeconds);
          sleeping.push(() => {
            clearTimeout(timer);
            resolve();
          });
        });
      }
      const [entry] = waiting.splice(0, 1);
      return entry && job(entry);
    },
    isEmpty: async () => waiting.length + held.size === 0,
    async clear() {
      waiting = [];
      held.clear();
    },
  };
}
