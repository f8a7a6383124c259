/**
 * Many requests in one engine: decoding of 1 to 16 streams whose tokens exit at depths of mean 2.5,
 * against full depth for all and against a batch that waits for its deepest row; and what guesses are
 * worth. `npm run bench:batch -- [--model DIR] [--rounds N] [--json FILE]`.
 */
import { generatorFor } from 'looplm/data';
import { Engine } from 'looplm/engine';
import { loadWeights } from 'looplm/model';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { NUM_LOOPS } from '../depth/schedule.js';
import { busyFraction } from '../lib/busy.js';
import { readFlags } from '../lib/flags.js';
import { alternate, provenance, writeResult } from '../lib/harness.js';
import { describeModel } from '../lib/models.js';
import { ReadoutClock } from '../lib/readout-clock.js';
import { openRoofs } from '../lib/roofs.js';
import { median, medianRatio } from '../lib/statistics.js';
import type { Guessing } from './bundled.js';
import { BUNDLED_STREAMS, BundledModel, SPECULATIONS } from './bundled.js';
import { ACCEPTANCES, GUESS_DEPTHS, stepsSaved, timeGuesses } from './guesses.js';
import type { BundledGuessesEntry, GuessesEntry, StreamsEntry } from './report.js';
import { batchText, goalsOf } from './report.js';
import { meanOf, NUM_TOKENS, withDeferredLoops } from './schedule.js';
import type { Timing, Way } from './streams.js';
import { depthsOf, prefill, STREAMS, timeStreams, tokensOf, WAYS } from './streams.js';

const THREADS = 2;
const ROUNDS = 3;
const SEED = 1;
const CONTEXT = 256;
/** So that the context that is asked for is the one in the middle of the run. */
const PROMPT_TOKENS = CONTEXT - NUM_TOKENS / 2;
/** Prompts of all streams stay. */
const PREFIX_BYTES = 4 * 2 ** 30;

const flags = await readFlags(ROUNDS);
const loaded = await loadWeights(nodeFolder(flags.model));
const { config } = loaded;
if (config.numLoops !== NUM_LOOPS) {
  throw new Error(`The model has ${config.numLoops} loops; depths are drawn for ${NUM_LOOPS}.`);
}
await using roofs = await openRoofs(THREADS);
const busy: number[] = [];
const say = (line: string) => void process.stderr.write(`${line}\n`);

/** Both roofs and what else the machine does, once a round. */
async function measureMachine(): Promise<void> {
  busy.push(await busyFraction());
  await roofs.product();
  await roofs.memory();
}

async function measureStreams(engine: Engine, clock: ReadoutClock, prompts: number[][]) {
  const timings = new Map<string, Timing[]>();
  const nameOf = (streams: number, way: Way) => `${streams} streams, ${way}`;
  for (let round = 0; round < flags.rounds; round++) {
    await measureMachine();
    for (const streams of round % 2 === 0 ? STREAMS : STREAMS.toReversed()) {
      for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
        const depths = depthsOf(way, streams, round, SEED);
        const timing = await timeStreams(engine, clock, prompts, way, depths);
        const name = nameOf(streams, way);
        timings.set(name, [...(timings.get(name) ?? []), timing]);
        const rate = tokensOf(streams) / timing.all;
        say(`${name}, round ${round + 1}/${flags.rounds}: ${rate.toFixed(2)} tokens/s`);
      }
    }
  }
  const rounds = Array.from({ length: flags.rounds }, (_, round) => round);
  const entries = STREAMS.flatMap((streams) =>
    WAYS.map((way): StreamsEntry => {
      const secondsOf = (which: Way) => timings.get(nameOf(streams, which))!.map(({ all }) => all);
      const loopsOf = (which: Way) =>
        timings.get(nameOf(streams, which))!.map(({ all, readout }) => all - readout);
      const depths = rounds.flatMap((round) => depthsOf(way, streams, round, SEED));
      const meanDepth = meanOf(depths);
      const meanLoops = way === 'per-loop' ? meanOf(depths.map(withDeferredLoops)) : meanDepth;
      const own = secondsOf(way);
      const speedUp = medianRatio(secondsOf('full depth'), own);
      const loopsSpeedUp = medianRatio(loopsOf('full depth'), loopsOf(way));
      return {
        streams,
        way,
        meanDepth,
        meanLoops,
        tokensPerSecond: tokensOf(streams) / median(own),
        speedUp,
        shareOfIdeal: (speedUp * meanLoops) / NUM_LOOPS,
        loopsShareOfIdeal: (loopsSpeedUp * meanLoops) / NUM_LOOPS,
        overNaive: medianRatio(secondsOf('naive'), own),
      };
    }),
  );
  return {
    entries,
    raw: Object.fromEntries([...timings].map(([k, v]) => [k, v.map((t) => t.all)])),
  };
}

async function measureGuesses(engine: Engine, promptIds: readonly number[]) {
  const guessed = GUESS_DEPTHS.flatMap((depth) =>
    ACCEPTANCES.map((acceptance) => ({
      depth,
      acceptance,
      name: `guesses at depth ${depth}, ${acceptance} right`,
      measure: () => timeGuesses(engine, promptIds, acceptance, depth),
    })),
  );
  const off = { name: 'no guesses', measure: () => timeGuesses(engine, promptIds, 1, 'off') };
  const raw = await alternate([off, ...guessed], flags.rounds);
  const entries = guessed.map(({ name, depth, acceptance }): GuessesEntry => ({
    depth,
    acceptance,
    tokenMs: 1000 * median(raw[name]!),
    speedUp: medianRatio(raw[off.name]!, raw[name]!),
    stepsSaved: stepsSaved(depth, acceptance),
  }));
  return { entries, raw };
}

async function measureBundled(bundled: BundledModel) {
  const latest = new Map<string, Guessing>();
  const guessed = [...bundled.exits.keys()].flatMap((exits) =>
    SPECULATIONS.map((speculation) => {
      const name = `bundled, exits ${exits}, speculation ${speculation}`;
      const measure = async () => {
        const guessing = await bundled.guessing(exits, speculation);
        latest.set(name, guessing);
        return guessing.tokensPerSecond;
      };
      return { name, exits, speculation: String(speculation), measure };
    }),
  );
  const streams = BUNDLED_STREAMS.map((count) => ({
    name: `bundled, ${count} calls at once`,
    count,
    measure: () => bundled.streams(count),
  }));
  const variants = [...streams, ...guessed];
  for (const { measure } of variants) await measure(); // warm-up, not counted
  const raw = await alternate(variants, flags.rounds);
  const guesses = guessed.map(({ name, exits, speculation }): BundledGuessesEntry => {
    const off = guessed.find((other) => other.exits === exits && other.speculation === 'off')!;
    return {
      exits,
      speculation,
      ...latest.get(name)!,
      tokensPerSecond: median(raw[name]!),
      speedUp: medianRatio(raw[name]!, raw[off.name]!),
    };
  });
  const rates = streams.map(({ name, count }) => ({
    streams: count,
    tokensPerSecond: median(raw[name]!),
  }));
  return { guesses, rates, raw };
}

async function measureLarge() {
  await using clock = new ReadoutClock(await createNodeDevice({ numThreads: THREADS }));
  const options = { kvDtype: 'i8', maxPrefixBytes: PREFIX_BYTES } as const;
  const engine = await Engine.create({ device: clock, ...loaded, ...options });
  const rng = generatorFor(SEED);
  const prompts = Array.from({ length: Math.max(...STREAMS) }, () =>
    Array.from({ length: PROMPT_TOKENS }, () => uniformInt(rng, 0, config.vocabSize - 1)),
  );
  await prefill(engine, prompts, (index) =>
    say(`prompt ${index + 1}/${prompts.length} of ${PROMPT_TOKENS} tokens`),
  );
  const streams = await measureStreams(engine, clock, prompts);
  const guesses = await measureGuesses(engine, prompts[0]!);
  await engine.dispose();
  return { streams, guesses };
}

async function measureSmall() {
  await using clock = new ReadoutClock(await createNodeDevice({ numThreads: THREADS }));
  const bundled = await BundledModel.open(clock, SEED);
  const measured = await measureBundled(bundled);
  await bundled.dispose();
  return measured;
}

const small = await measureSmall();
const { streams, guesses } = await measureLarge();
const figures = { streams: streams.entries, bundledGuesses: small.guesses };
const result = {
  title: 'Many streams at once, and guesses',
  settings: {
    threads: THREADS,
    rounds: flags.rounds,
    context: CONTEXT,
    tokensPerStream: NUM_TOKENS,
    seed: SEED,
  },
  ...provenance(),
  roofs: roofs.rounds,
  model: await describeModel(flags.model),
  busyFraction: median(busy),
  ...figures,
  guesses: guesses.entries,
  bundledStreams: small.rates,
  goals: goalsOf(figures),
  raw: { ...streams.raw, ...guesses.raw, ...small.raw },
};
await writeResult('batch', result, flags.json);
process.stdout.write(`${batchText(result)}\n`);
