/** What a server needs of Node.js: a listener, files to show, a log. */
export { readAssets } from './assets.js';
export type { Listener, ListenOptions } from './listen.js';
export { listen } from './listen.js';
export { jsonLog, terminalLog } from './log.js';
