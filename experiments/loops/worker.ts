/** The process of one run, which main.ts starts. */
import type { Job } from './runs.js';
import { playRun } from './runs.js';

process.stdout.write(JSON.stringify(await playRun(JSON.parse(process.argv[2]!) as Job)));
