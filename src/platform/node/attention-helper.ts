/**
 * Starts the helper thread of attention in Node.
 */
import { Worker } from 'node:worker_threads';
import type { HelperStart } from '../../runtime/attention/index.js';

/** Starts the thread; it ends when it is told to, or with the thread that started it. */
export function spawnAttentionHelper(workerData: HelperStart): void {
  const entry = new URL('./attention-worker.js', import.meta.url);
  new Worker(entry, { workerData, execArgv: [] }).unref();
}
