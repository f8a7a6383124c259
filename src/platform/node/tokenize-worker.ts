/**
 * Entry of a worker thread that makes tokens of parts of a corpus.
 */
import { partWorker } from './shards/part-shards.js';
import { serveTasks } from './task-pool.js';

serveTasks(partWorker);
