/**
 * `npm run stress:serve -- --seed N --count 100000 --minutes 10`: a soak of the server, for so long or so many
 * requests. Ctrl-C ends it early, with its summary.
 */
import { constants } from 'node:os';
import { readFlags } from '../flags.js';
import { soak } from './serve.js';

const MAX_OPEN = 32;
const NUM_COMPARED = 400;
const PRINT_MS = 10_000;
/** How much the process may grow in the second half of the run; of a short one that says nothing. */
const MAX_GROWTH_BYTES = 64 * 2 ** 20;
const LEAST_SAMPLES = 240;
const SAMPLE_MS = 500;

const { seed, minutes, count: numRequests } = readFlags({ seed: 1, count: 100_000, minutes: 10 });
const print = (line: string) => void process.stdout.write(`${line}\n`);
const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());
const start = performance.now();
let printedAt = start;
const resident: number[] = [];
const sampler = setInterval(() => resident.push(process.memoryUsage.rss()), SAMPLE_MS);
let numPlayed = 0;
const { counts, numCompared, numPreemptions, faults } = await soak({
  seed,
  count: numRequests,
  maxOpen: MAX_OPEN,
  numCompared: NUM_COMPARED,
  deadline: start + 60_000 * minutes,
  signal: stop.signal,
  onProgress(line) {
    numPlayed = resident.length;
    if (performance.now() - printedAt < PRINT_MS) return;
    printedAt = performance.now();
    print(`${Math.round((printedAt - start) / 1000)} s: ${line}`);
  },
});
clearInterval(sampler);
const half = resident.slice(Math.floor(numPlayed / 2), numPlayed);
const tenth = Math.max(1, Math.floor(half.length / 10));
const growth = median(half.slice(-tenth)) - median(half.slice(0, tenth));
const grows = numPlayed >= LEAST_SAMPLES && growth > MAX_GROWTH_BYTES;
const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
for (const fault of faults) print(fault);
if (grows) print(`the process grew by ${mebibytes(growth)}`);
const tally = Object.entries(counts).map(([end, count]) => `${count} ${end}`);
print(`${tally.join(', ')}; ${numCompared} compared with running alone`);
print(`${numPreemptions} preemptions; ${mebibytes(growth)} of growth in the second half`);
print(`seed ${seed}, ${Math.round((performance.now() - start) / 1000)} s, ${faults.length} faults`);
if (faults.length > 0 || grows) process.exitCode = 1;
else if (stop.signal.aborted) process.exitCode = 128 + constants.signals.SIGINT;
