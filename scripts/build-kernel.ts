/**
 * `npm run build:kernel`: compiles the attention kernel and writes the module that carries it.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { KERNEL_FILE, kernelText } from './kernel.js';

writeFileSync(`${KERNEL_FILE}.part`, kernelText(process.cwd()));
renameSync(`${KERNEL_FILE}.part`, KERNEL_FILE);
console.log(`wrote ${KERNEL_FILE}`);
