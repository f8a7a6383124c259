/**
 * Starts the helper thread of attention in Node.
 */
import { Worker } from 'node:worker_threads';
import type { HelperStart, HelperThread } from '../../runtime/attention/index.js';
import { threadEntry } from './thread-entry.js';

/** Starts the thread; it ends when it is told to, or with the thread that started it. */
export function spawnAttentionHelper(workerData: HelperStart): HelperThread {
  const worker = new Worker(threadEntry('attention-worker'), { workerData, execArgv: [] });
  worker.unref();
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  return {
    ended() {
      worker.ref();
      return exited;
    },
  };
}
