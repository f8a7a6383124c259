/**
 * `npm run stress -- --seed N --count 5000 --minutes 10`: random requests against the bundled model, for
 * so long or so many, with memory for a quarter of them; then some are run again alone and compared.
 *
 * What a request is follows from seed and index; when it comes and in which company does not.
 * `--only INDEX` prints one and what it gives alone. Ctrl-C ends a run early, with its summary.
 */
import { constants } from 'node:os';
import { Engine } from '../../src/engine/index.js';
import { loadCheckpoint } from '../../src/model/index.js';
import { bundledModelPath, createNodeDevice, nodeFolder } from '../../src/platform/node/index.js';
import { readFlags } from '../flags.js';
import type { Outcome } from './play.js';
import { drawRequest } from './requests.js';
import type { StressReport } from './stress.js';
import { stress } from './stress.js';

const MAX_CALLS = 40;
const PAUSE_MS = 20;
const NUM_COMPARED = { finished: 600, others: 150 };
/** How much the process may grow in the second half of the run; of a short one that says nothing. */
const MAX_GROWTH_BYTES = 64 * 2 ** 20;
const LEAST_SAMPLES = 240;
const PRINT_MS = 10_000;
const SAMPLE_MS = 500;
const MEBIBYTE = 2 ** 20;

const { seed, count, minutes, only } = readFlags({
  seed: 1,
  count: 5000,
  minutes: 10,
  only: undefined,
});
const print = (line: string) => void process.stdout.write(`${line}\n`);

const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** Growth from the first to the last tenth of the second half. */
function growthOf(resident: readonly number[]): number {
  const half = resident.slice(Math.floor(resident.length / 2));
  const tenth = Math.max(1, Math.floor(half.length / 10));
  return median(half.slice(-tenth)) - median(half.slice(0, tenth));
}

function tally(outcomes: readonly Outcome[]): string {
  const ends = ['finished', 'aborted', 'left', 'failed'] as const;
  const counts = ends.map((end) => outcomes.filter((one) => one.end === end).length);
  const numOpen = outcomes.filter(({ end }) => !end).length;
  const parts = ends.map((end, index) => `${counts[index]} ${end}`);
  return [`${outcomes.length} requests`, ...parts, `${numOpen} under way`].join(', ');
}

async function printOne(engine: Engine, index: number): Promise<void> {
  const { request, givingUp, restMs } = drawRequest(seed, index, engine.config);
  const { exitPolicy, ...rest } = request;
  print(JSON.stringify({ ...rest, exitPolicy: exitPolicy.name, givingUp, restMs }));
  for await (const event of engine.generate([request])) print(JSON.stringify(event));
}

function printFaults({ outcomes, faults }: StressReport, more: readonly string[]): number {
  const all = [...faults, ...more];
  for (const outcome of outcomes) {
    for (const fault of outcome.faults) {
      all.push(`request ${outcome.index} of seed ${seed}: ${fault}`);
    }
  }
  for (const fault of all) print(fault);
  return all.length;
}

const model = await loadCheckpoint(nodeFolder(bundledModelPath()));
const device = await createNodeDevice();

async function run(): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const start = performance.now();
  const resident: number[] = [];
  const sampler = setInterval(() => resident.push(process.memoryUsage.rss()), SAMPLE_MS);
  let printedAt = start;
  const progress = (line: string) => {
    if (performance.now() - printedAt < PRINT_MS) return;
    printedAt = performance.now();
    print(`${Math.round((printedAt - start) / 1000)} s: ${line}`);
  };
  let numPlayed = 0;
  const report = await stress(
    { ...model, device },
    {
      seed,
      count,
      maxCalls: MAX_CALLS,
      pauseMs: PAUSE_MS,
      numCompared: NUM_COMPARED,
      signal: stop.signal,
      deadline: start + 60_000 * minutes,
      onProgress(outcomes) {
        numPlayed = resident.length;
        progress(tally(outcomes));
      },
      onCompared: (numDone, numAll) => progress(`${numDone} of ${numAll} compared`),
    },
  );
  clearInterval(sampler);
  const { outcomes, numCompared, numPages, numPreemptions, numExecuted } = report;
  const growth = growthOf(resident.slice(0, numPlayed));
  const grows = numPlayed >= LEAST_SAMPLES && growth > MAX_GROWTH_BYTES;
  const more = grows ? [`the process grew by ${Math.round(growth / MEBIBYTE)} MiB`] : [];
  print('');
  const numFaults = printFaults(report, more);
  print(tally(outcomes));
  print(
    `compared with running alone: ${numCompared.finished} finished, the beginning of ${numCompared.others} others`,
  );
  print(
    `${numExecuted} loops of tokens run, ${numPages} pages of keys and values, ${numPreemptions} preemptions`,
  );
  print(
    `resident size ${Math.round((resident.at(-1) ?? 0) / MEBIBYTE)} MiB; ${Math.round(growth / MEBIBYTE)} MiB of growth in the second half`,
  );
  print(
    `seed ${seed}, ${Math.round((performance.now() - start) / 1000)} s, ${numFaults} faults${stop.signal.aborted ? ', interrupted' : ''}`,
  );
  if (numFaults > 0) process.exitCode = 1;
  else if (stop.signal.aborted) process.exitCode = 128 + constants.signals.SIGINT;
}

if (only === undefined) {
  await run();
} else {
  await using engine = await Engine.create({ ...model, device });
  await printOne(engine, only);
}
await device.dispose();
