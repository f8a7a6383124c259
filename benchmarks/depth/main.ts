/**
 * What early exit is worth at full size: decoding at forced depths of a given mean, under each KV
 * policy, against full depth. `npm run bench:depth -- [--model DIR] [--rounds N] [--json FILE]`.
 *
 * A run is one generation of one sequence: its prefill is needed but not counted, then rounds follow
 * one another. The context grows meanwhile; prompts are shorter than the context that is asked for,
 * so that it is the one in the middle of the run, and a run is no longer than that context.
 */
import { generatorFor } from 'looplm/data';
import type { KvPolicy } from 'looplm/engine';
import { Engine, KV_POLICIES, parseSamplingOptions, replay } from 'looplm/engine';
import { loadWeights, modelCost } from 'looplm/model';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { busyFraction } from '../lib/busy.js';
import { readFlags } from '../lib/flags.js';
import { provenance, writeResult } from '../lib/harness.js';
import { describeModel } from '../lib/models.js';
import { ReadoutClock } from '../lib/readout-clock.js';
import { openRoofs } from '../lib/roofs.js';
import { median, medianRatio } from '../lib/statistics.js';
import type { DepthEntry } from './report.js';
import { depthText, goalsOf } from './report.js';
import type { ScheduledToken } from './schedule.js';
import { MEAN_DEPTHS, NUM_LOOPS, ROUND_TOKENS, scheduleRound } from './schedule.js';

const THREADS = 2;
/** Even, see schedule.ts. */
const ROUNDS = 6;
const SEED = 1;
const CONTEXTS = [256, 1024];

/** Milliseconds a token: in all, and of it the head and the choice of a token from its logits. */
interface Timing {
  readonly token: number;
  readonly readout: number;
}

/** Times of one mean depth under one policy, by round. */
interface Rounds {
  readonly token: number[];
  readonly readout: number[];
  /** What the memory gave beside the run, GB/s. */
  readonly memory: number[];
}

const flags = await readFlags(ROUNDS);
const loaded = await loadWeights(nodeFolder(flags.model));
const { config, format } = loaded;
if (config.numLoops !== NUM_LOOPS) {
  throw new Error(`The model has ${config.numLoops} loops; depths are drawn for ${NUM_LOOPS}.`);
}
await using clock = new ReadoutClock(await createNodeDevice({ numThreads: THREADS }));
await using roofs = await openRoofs(THREADS);
const engine = await Engine.create({ device: clock, ...loaded, kvDtype: 'i8' });

/** Generates the tokens of a schedule and times each. */
async function timeTokens(
  context: number,
  kvPolicy: KvPolicy,
  schedule: readonly ScheduledToken[],
): Promise<readonly Timing[]> {
  const rng = generatorFor(SEED);
  const promptIds = Array.from({ length: context - Math.floor(schedule.length / 2) }, () =>
    uniformInt(rng, 0, config.vocabSize - 1),
  );
  // The prefill gives the first token.
  const depths = [NUM_LOOPS, ...schedule.map(({ depth }) => depth)];
  const request = {
    promptIds,
    maxNewTokens: depths.length,
    exitPolicy: replay(depths),
    sampling: parseSamplingOptions({}),
  };
  const timings: Timing[] = [];
  let [start, readoutBefore] = [0, 0];
  for await (const event of engine.generate([{ ...request, kvPolicy }])) {
    if (event.kind !== 'token') continue;
    const now = performance.now();
    if (event.tokenIndex > 0) {
      const choice = now - clock.endedAt;
      timings.push({ token: now - start, readout: clock.readoutMs - readoutBefore + choice });
    }
    [start, readoutBefore] = [performance.now(), clock.readoutMs];
  }
  return timings;
}

const measured = new Map<string, Rounds>();
const busy: number[] = [];
const nameOf = (context: number, kvPolicy: KvPolicy, meanDepth: number) =>
  `context ${context}, ${kvPolicy}, mean depth ${meanDepth}`;

function addRound(
  context: number,
  kvPolicy: KvPolicy,
  schedule: readonly ScheduledToken[],
  timings: readonly Timing[],
  gigabytesPerSecond: number,
): void {
  for (const meanDepth of MEAN_DEPTHS) {
    const own = timings.filter((_, index) => schedule[index]!.meanDepth === meanDepth);
    const mean = (part: keyof Timing) =>
      own.reduce((sum, timing) => sum + timing[part], 0) / own.length;
    const name = nameOf(context, kvPolicy, meanDepth);
    const rounds = measured.get(name) ?? { token: [], readout: [], memory: [] };
    measured.set(name, rounds);
    rounds.token.push(mean('token'));
    rounds.readout.push(mean('readout'));
    rounds.memory.push(gigabytesPerSecond);
    process.stderr.write(
      `${name}, round ${rounds.token.length}: ${mean('token').toFixed(1)} ms, readout ${mean('readout').toFixed(1)} ms\n`,
    );
  }
}

async function measureContext(context: number): Promise<void> {
  const roundsPerRun = Math.max(1, Math.floor(context / ROUND_TOKENS));
  for (let first = 0, run = 0; first < flags.rounds; first += roundsPerRun, run++) {
    busy.push(await busyFraction());
    await roofs.product();
    const length = Math.min(roundsPerRun, flags.rounds - first);
    const rounds = Array.from({ length }, (_, index) => scheduleRound(first + index, SEED));
    for (const kvPolicy of run % 2 === 0 ? KV_POLICIES : KV_POLICIES.toReversed()) {
      const rate = await roofs.memory();
      const timings = await timeTokens(context, kvPolicy, rounds.flat());
      rounds.forEach((schedule, index) => {
        const start = index * ROUND_TOKENS;
        addRound(context, kvPolicy, schedule, timings.slice(start, start + ROUND_TOKENS), rate);
      });
    }
  }
}

/** Weights, keys and values that a token reads at a mean depth. */
function bytesOf(context: number, meanDepth: number): number {
  const cost = modelCost(config, { context, weights: format ?? 'f32', cacheDtype: 'i8' });
  const [first, second] = cost.byDepth.map(({ weightBytesPerToken }) => weightBytesPerToken);
  const perLoop = second! - first! + context * cost.kvBytesPerToken.shared;
  return first! - (second! - first!) + meanDepth * perLoop;
}

function entryOf(context: number, kvPolicy: KvPolicy, meanDepth: number): DepthEntry {
  const own = measured.get(nameOf(context, kvPolicy, meanDepth))!;
  const full = measured.get(nameOf(context, kvPolicy, NUM_LOOPS))!;
  const gigabytesPerMs = own.token.map((ms) => bytesOf(context, meanDepth) / ms / 1e6);
  const loops = ({ token, readout }: Rounds) => token.map((ms, round) => ms - readout[round]!);
  const speedUp = medianRatio(full.token, own.token);
  const loopsSpeedUp = medianRatio(loops(full), loops(own));
  return {
    context,
    kvPolicy,
    meanDepth,
    tokenMs: median(own.token),
    readoutMs: median(own.readout),
    speedUp,
    shareOfIdeal: (speedUp * meanDepth) / NUM_LOOPS,
    loopsSpeedUp,
    loopsShareOfIdeal: (loopsSpeedUp * meanDepth) / NUM_LOOPS,
    shareOfMemory: medianRatio(gigabytesPerMs, own.memory),
  };
}

for (const context of CONTEXTS) await measureContext(context);
await engine.dispose();
const entries = CONTEXTS.flatMap((context) =>
  KV_POLICIES.flatMap((kvPolicy) =>
    MEAN_DEPTHS.map((meanDepth) => entryOf(context, kvPolicy, meanDepth)),
  ),
);
const result = {
  title: 'Early exit at full size: speed by mean depth',
  settings: { threads: THREADS, rounds: flags.rounds, tokensPerRound: ROUND_TOKENS, seed: SEED },
  ...provenance(),
  roofs: roofs.rounds,
  model: await describeModel(flags.model),
  busyFraction: median(busy),
  entries,
  goals: goalsOf(entries),
  raw: Object.fromEntries(measured),
};
await writeResult('depth', result, flags.json);
process.stdout.write(`${depthText(result)}\n`);
