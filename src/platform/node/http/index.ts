/** What a server needs of Node.js: a listener, files to show, a log. */
export type { AgentCheck } from './agent-check.js';
export { serveAgentCheck } from './agent-check.js';
export { readAssets } from './assets.js';
export type { Listener, ListenOptions } from './listen.js';
export { listen } from './listen.js';
export { jsonLog, terminalLog } from './log.js';
