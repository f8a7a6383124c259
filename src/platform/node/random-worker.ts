/**
 * Entry of a worker thread that writes parts of a random checkpoint.
 */
import { writeRandomPart } from './random-part.js';
import { serveTasks } from './task-pool.js';

serveTasks(writeRandomPart);
