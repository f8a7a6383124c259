/**
 * Entry of a worker thread that converts weights.
 */
import { pieceConverter } from './convert/piece.js';
import { serveTasks } from './task-pool.js';

serveTasks(pieceConverter);
