/**
 * Entry of the helper thread of attention. It sleeps in `Atomics.wait`, so it hears no messages.
 */
import { workerData } from 'node:worker_threads';
import { type HelperStart, serveAttention } from '../../runtime/attention/index.js';

serveAttention(workerData as HelperStart);
