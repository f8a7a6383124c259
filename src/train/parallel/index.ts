/** Training on several machines that meet in a store. */
export { MEMBER_FILE } from './identity.js';
export type { TrainTogetherOptions } from './options.js';
export { trainTogether } from './worker.js';
