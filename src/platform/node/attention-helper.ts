/**
 * Starts the helper thread of attention in Node.
 */
import { Worker } from 'node:worker_threads';
import type { HelperStart, HelperThread } from '../../runtime/attention/index.js';

/** Starts the thread; it ends when it is told to, or with the thread that started it. */
export function spawnAttentionHelper(workerData: HelperStart): HelperThread {
  const entry = new URL('./attention-worker.js', import.meta.url);
  const worker = new Worker(entry, { workerData, execArgv: [] });
  worker.unref();
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  return {
    ended() {
      worker.ref();
      return exited;
    },
  };
}
