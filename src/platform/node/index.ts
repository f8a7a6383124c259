/**
 * What looplm needs of Node.js: files on disk. The only folder of the library, beside the command
 * line, that imports `node:` modules.
 */
export { fileExists, nodeFolder, openFile, readTextFile, writeFileAtomic } from './files.js';
export { createNodeDevice } from './device.js';
export { bundledModelPath, loadModel } from './model.js';
