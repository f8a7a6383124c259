#!/usr/bin/env node
/**
 * Entry of the program `looplm`. A reader that closes its end of a pipe (`| head`) ends it quietly.
 */
import { processIo } from './io.js';
import { run } from './run.js';

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}

process.exitCode = await run(process.argv.slice(2), processIo());
