#!/usr/bin/env node
/**
 * Entry of the program `looplm`.
 */
import { processIo } from './process-io.js';
import { run } from './run.js';

const io = processIo();
const exitCode = await run(process.argv.slice(2), io);
process.exitCode = io.failure() ?? exitCode;
