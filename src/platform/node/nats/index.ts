/** Runs of several machines over NATS; loaded only when asked for. */
export type { ConnectRunOptions } from './connect.js';
export { connectRun } from './connect.js';
