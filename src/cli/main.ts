#!/usr/bin/env node
/**
 * Entry of the program `looplm`.
 */
import { processIo } from './process-io.js';

const io = processIo();
const { run } = await import('./run.js'); // large: Ctrl-C is heard meanwhile
const exitCode = await run(process.argv.slice(2), io);
process.exitCode = io.failure() ?? exitCode;
