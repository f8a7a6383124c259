/**
 * A server under load that does not wait for it: full depth, a batch that waits for its deepest row, and
 * each token at its own depth; and llama.cpp behind the same route, on the body of one loop.
 * `npm run bench:serving -- [--model DIR] [--rounds N] [--json FILE]`.
 */
import { readModelConfig } from 'looplm/model';
import { bundledModelPath, nodeFolder } from 'looplm/node';
import { busyFraction } from '../lib/busy.js';
import { readFlags } from '../lib/flags.js';
import { provenance, writeResult } from '../lib/harness.js';
import { describeModel } from '../lib/models.js';
import { openRoofs } from '../lib/roofs.js';
import { mean, median, medianRatio } from '../lib/statistics.js';
import { ggufModel, SHAPE } from '../llama-cpp/models.js';
import { installLlama } from '../llama-cpp/node-llama-cpp.js';
import type { BodyOf, LoadFigures } from './load.js';
import { figuresOf, sendLoad } from './load.js';
import type { ServingEntry } from './report.js';
import { servingText } from './report.js';
import type { ServerProcess } from './servers.js';
import { startLlama, startLooplm } from './servers.js';
import type { Arrival, Way, WorkloadOptions } from './workload.js';
import { exitPolicyOf, WAYS, workload } from './workload.js';

const THREADS = 2;
const ROUNDS = 2;
const SEED = 1;

interface Scenario extends Omit<WorkloadOptions, 'rate' | 'vocabSize' | 'seed'> {
  readonly model: string;
  /** Absent for the bundled one. */
  readonly path?: string;
  readonly rates: readonly number[];
}

const flags = await readFlags(ROUNDS);
const SCENARIOS: readonly Scenario[] = [
  { model: 'bundled', rates: [10, 25], numRequests: 200, promptTokens: 16, newTokens: 32 },
  {
    model: 'Ouro 1.4B q4',
    path: flags.model,
    rates: [0.25, 0.45],
    numRequests: 12,
    promptTokens: 16,
    newTokens: 24,
  },
];

const say = (line: string) => void process.stderr.write(`${line}\n`);
const busy: number[] = [];
await using roofs = await openRoofs(THREADS);

async function measureMachine(): Promise<void> {
  busy.push(await busyFraction());
  await roofs.product();
  await roofs.memory();
}

const bodyOf =
  (way: Way): BodyOf =>
  (arrival) => ({
    prompt: arrival.promptIds,
    max_tokens: arrival.depths.length,
    temperature: 0,
    ignore_eos: true,
    return_token_ids: true,
    kv_policy: 'last-exited',
    exit_policy: exitPolicyOf(way, arrival),
  });

const depthsOf = (way: Way, { depths, batchDepths }: Arrival, numLoops: number) => {
  if (way === 'full depth') return depths.map(() => numLoops);
  return way === 'whole batch' ? batchDepths : depths;
};

interface Variant {
  readonly server: string;
  readonly way: string;
  readonly meanDepth: number;
  readonly bodyOf: BodyOf;
}

/** Every variant at every rate; all runs of a server are in one process, warmed up before. */
async function measureServer(
  { url }: ServerProcess,
  scenario: Scenario,
  variants: readonly Variant[],
  vocabSize: number,
): Promise<ServingEntry[]> {
  const { model, rates, path: _, ...size } = scenario;
  const arrivalsAt = (rate: number) => workload({ ...size, rate, vocabSize, seed: SEED });
  for (const { bodyOf: body } of variants) {
    await sendLoad(url, arrivalsAt(Math.max(...rates)).slice(0, 2), body);
  }
  const runs = new Map<string, LoadFigures[]>();
  for (let round = 0; round < flags.rounds; round += 1) {
    for (const rate of rates) {
      for (const { server, way, bodyOf: body } of round % 2 === 0
        ? variants
        : variants.toReversed()) {
        const figures = figuresOf(await sendLoad(url, arrivalsAt(rate), body));
        runs.set(`${way} ${rate}`, [...(runs.get(`${way} ${rate}`) ?? []), figures]);
        const speed = `${figures.tokensPerSecond.toFixed(1)} tokens/s`;
        say(`${model}, ${server}, ${way}, ${rate}/s, round ${round + 1}/${flags.rounds}: ${speed}`);
      }
    }
  }
  return rates.flatMap((rate) =>
    variants.map(({ server, way, meanDepth }): ServingEntry => {
      const own = runs.get(`${way} ${rate}`)!;
      const of = (value: (figures: LoadFigures) => number) => median(own.map(value));
      const spreadOf = (name: 'firstToken' | 'betweenTokens') => ({
        p50: of((run) => run[name].p50),
        p90: of((run) => run[name].p90),
        p99: of((run) => run[name].p99),
      });
      const speeds = (which: readonly LoadFigures[]) => which.map((run) => run.tokensPerSecond);
      const full = runs.get(`full depth ${rate}`);
      return {
        model,
        server,
        way,
        rate,
        meanDepth,
        tokensPerSecond: of((run) => run.tokensPerSecond),
        ...(full && { overFullDepth: medianRatio(speeds(own), speeds(full)) }),
        firstToken: spreadOf('firstToken'),
        betweenTokens: spreadOf('betweenTokens'),
      };
    }),
  );
}

async function measureLooplm(scenario: Scenario): Promise<ServingEntry[]> {
  const { config } = await readModelConfig(nodeFolder(scenario.path ?? bundledModelPath()));
  const { numLoops, vocabSize } = config;
  const { model: _, path, rates: __, ...size } = scenario;
  const arrivals = workload({ ...size, rate: 1, vocabSize, seed: SEED });
  const variants = WAYS.map((way) => ({
    server: 'looplm',
    way,
    meanDepth: mean(arrivals.flatMap((arrival) => depthsOf(way, arrival, numLoops))),
    bodyOf: bodyOf(way),
  }));
  // what llama.cpp runs of each token
  const once = {
    server: 'looplm',
    way: 'one loop',
    meanDepth: 1,
    bodyOf: (arrival: Arrival) => ({
      ...bodyOf('full depth')(arrival),
      exit_policy: 'fixed:1',
      num_loops: 1,
    }),
  };
  await using server = await startLooplm(path, THREADS);
  return await measureServer(
    server,
    scenario,
    path === undefined ? variants : [...variants, once],
    vocabSize,
  );
}

async function measureLlama(scenario: Scenario): Promise<ServingEntry[]> {
  await installLlama();
  const path = await ggufModel('body', SHAPE, 'q4_0', SEED);
  await using server = await startLlama(path, THREADS);
  const body: BodyOf = ({ promptIds, depths }) => ({
    prompt: promptIds,
    max_tokens: depths.length,
  });
  const variant = { server: 'llama.cpp', way: 'the body once', meanDepth: 1, bodyOf: body };
  return await measureServer(server, scenario, [variant], SHAPE.vocabSize);
}

const entries: ServingEntry[] = [];
for (const scenario of SCENARIOS) {
  await measureMachine();
  entries.push(...(await measureLooplm(scenario)));
  if (scenario.path !== undefined) entries.push(...(await measureLlama(scenario)));
}
const result = {
  title: 'A server under load',
  settings: { threads: THREADS, rounds: flags.rounds, seed: SEED },
  ...provenance(),
  roofs: roofs.rounds,
  model: await describeModel(flags.model),
  busyFraction: median(busy),
  workloads: SCENARIOS.map(({ model, numRequests, promptTokens, newTokens }) => {
    return { model, numRequests, promptTokens, newTokens };
  }),
  entries,
};
await writeResult('serving', result, flags.json);
process.stdout.write(`${servingText(result)}\n`);
