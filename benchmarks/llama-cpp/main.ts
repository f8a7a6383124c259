/**
 * looplm against llama.cpp, for each executed body: decode at several contexts and prefill, in 4 and in
 * 8 bits, with the share of the memory's read rate that decoding reaches.
 * `npm run bench:llama-cpp -- [--rounds N] [--json FILE]`.
 *
 * Both sides are loaded at the same time, each in a process of its own; one waits while the other is
 * measured, and the order turns round every round.
 */
import { busyFraction } from '../lib/busy.js';
import { readRounds } from '../lib/flags.js';
import type { RawRounds, Variant } from '../lib/harness.js';
import { alternate, provenance, writeResult } from '../lib/harness.js';
import type { Roofs } from '../lib/roofs.js';
import { openRoofs } from '../lib/roofs.js';
import { median } from '../lib/statistics.js';
import type { FormatPair } from './models.js';
import {
  CONTEXTS,
  FORMAT_PAIRS,
  LLAMA_VARIANTS,
  LOOPLM_VARIANTS,
  SHAPE,
  ggufModel,
  loopLMBytes,
  loopLMModel,
} from './models.js';
import { installLlama } from './node-llama-cpp.js';
import type { Peer, PeerRequest } from './peer.js';
import { startPeer } from './peer.js';
import { goalsOf, reportText } from './report.js';
import { summarize } from './summary.js';

const THREADS = 2;
const ROUNDS = 20;
const SEED = 1;
const DECODED_TOKENS = 12;
const PREFILL_TOKENS = 512;

type Side = 'llama.cpp' | 'looplm';

/** Every time by name, round after round: one of each token of a decode, one of a prefill. */
type Times = Record<string, number[]>;

/** Measures by the median of a round, and keeps what it is made of. */
function variant(side: Side, peer: Peer, request: PeerRequest, times: Times): Variant {
  const what = request.ask === 'decode' ? `decode at ${request.context}` : 'prefill';
  const name = `${side}, ${request.variant}, ${what}`;
  return {
    name,
    async measure() {
      const answer = await peer.answer(request);
      (times[name] ??= []).push(...answer.map((time) => Number(time.toFixed(3))));
      return median(answer);
    },
  };
}

/** What is measured of both sides, neighbours in time where they are compared; roofs among them. */
function variantsOf(llama: Peer, looplm: Peer, roofs: Roofs, times: Times): readonly Variant[] {
  const decode = (context: number) => {
    const request = { ask: 'decode', context, numTokens: DECODED_TOKENS } as const;
    return [
      ...Object.keys(LLAMA_VARIANTS).map((name) =>
        variant('llama.cpp', llama, { ...request, variant: name }, times),
      ),
      { name: `memory at ${context}`, measure: () => roofs.memory() },
      ...Object.keys(LOOPLM_VARIANTS).map((name) =>
        variant('looplm', looplm, { ...request, variant: name }, times),
      ),
    ];
  };
  const prefill = { ask: 'prefill', numTokens: PREFILL_TOKENS } as const;
  return [
    { name: 'busy', measure: busyFraction },
    ...CONTEXTS.flatMap(decode),
    variant('llama.cpp', llama, { ...prefill, variant: 'flash' }, times),
    variant('llama.cpp', llama, { ...prefill, variant: 'plain' }, times),
    { name: 'products', measure: () => roofs.product() },
    variant('looplm', looplm, { ...prefill, variant: 'depth 1' }, times),
  ];
}

interface MeasuredPair {
  /** Medians of each round, and the roofs. */
  readonly raw: RawRounds;
  readonly times: Times;
  readonly looplmBytes: number;
  readonly setup: string;
  readonly versions: Readonly<Record<string, string>>;
}

const peerFile = (name: string) => new URL(`./${name}-peer.js`, import.meta.url);

async function measurePair(pair: FormatPair, roofs: Roofs, rounds: number): Promise<MeasuredPair> {
  const common = { numThreads: THREADS, vocabSize: SHAPE.vocabSize, seed: SEED };
  const llamaPath = await ggufModel('ouro-1.4b', SHAPE, pair.llama, SEED);
  const looplmPath = await loopLMModel(pair.looplm, SEED);
  await using llama = await startPeer(peerFile('llama'), { ...common, path: llamaPath });
  await using looplm = await startPeer(peerFile('looplm'), { ...common, path: looplmPath });
  const warmUp = variantsOf(llama, looplm, roofs, {});
  for (const each of warmUp) await each.measure(); // not counted
  const times: Times = {};
  return {
    raw: await alternate(variantsOf(llama, looplm, roofs, times), rounds),
    times,
    looplmBytes: await loopLMBytes(looplmPath),
    setup: `llama.cpp: ${llama.facts.setup}; looplm: ${looplm.facts.setup}`,
    versions: llama.facts.versions,
  };
}

const flags = readRounds(ROUNDS);
await installLlama();
await using roofs = await openRoofs(THREADS);
const measured = new Map<FormatPair, MeasuredPair>();
for (const pair of FORMAT_PAIRS) measured.set(pair, await measurePair(pair, roofs, flags.rounds));
const pairs = [...measured].map(([pair, rounds]) =>
  summarize(pair, { ...rounds, contexts: CONTEXTS, prefillTokens: PREFILL_TOKENS }),
);
const [first] = measured.values();
const result = {
  title: 'llama.cpp against looplm, per executed body',
  settings: {
    threads: THREADS,
    rounds: flags.rounds,
    decodedTokens: DECODED_TOKENS,
    prefillTokens: PREFILL_TOKENS,
    seed: SEED,
  },
  ...provenance(first!.versions),
  roofs: roofs.rounds,
  pairs,
  goals: goalsOf(pairs),
};
await writeResult('llama-cpp', result, flags.json);
process.stdout.write(`${reportText(result)}\n`);
