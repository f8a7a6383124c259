/**
 * looplm against llama.cpp, for each executed body: decode at several contexts and prefill, in 4 and in
 * 8 bits, with the share of the memory's read rate that decoding reaches. `npm run bench:llama-cpp`.
 *
 * Both sides are loaded at the same time, each in a process of its own; one waits while the other is
 * measured, and the order turns round every round.
 */
import { execFileSync } from 'node:child_process';
import { fileExists } from 'looplm/node';
import { busyFraction } from '../lib/busy.js';
import type { RawRounds, Variant } from '../lib/harness.js';
import { alternate, median, provenance, writeResult } from '../lib/harness.js';
import type { MemoryReadTest } from '../lib/memory-read.js';
import { createMemoryReadTest } from '../lib/memory-read.js';
import type { FormatPair } from './models.js';
import {
  FORMAT_PAIRS,
  LLAMA_VARIANTS,
  LOOPLM_VARIANTS,
  llamaModel,
  loopLMModel,
} from './models.js';
import type { Peer, PeerRequest } from './peer.js';
import { startPeer } from './peer.js';
import { goalsOf, reportText } from './report.js';
import { summarize } from './summary.js';

const THREADS = 2;
const ROUNDS = 5;
const SEED = 1;
const CONTEXTS = [16, 256, 1024, 4096];
const DECODED_TOKENS = 12;
const PREFILL_TOKENS = 512;

type Side = 'llama.cpp' | 'looplm';

function variant(side: Side, peer: Peer, request: PeerRequest): Variant {
  const what = request.ask === 'decode' ? `decode at ${request.context}` : 'prefill';
  return {
    name: `${side}, ${request.variant}, ${what}`,
    measure: async () => median(await peer.answer(request)),
  };
}

/** What is measured of both sides, neighbours in time where they are compared. */
function variantsOf(llama: Peer, looplm: Peer, memory: MemoryReadTest): readonly Variant[] {
  const decode = (context: number) => {
    const request = { ask: 'decode', context, numTokens: DECODED_TOKENS } as const;
    return [
      ...Object.keys(LLAMA_VARIANTS).map((name) =>
        variant('llama.cpp', llama, { ...request, variant: name }),
      ),
      ...Object.keys(LOOPLM_VARIANTS).map((name) =>
        variant('looplm', looplm, { ...request, variant: name }),
      ),
    ];
  };
  const prefill = { ask: 'prefill', numTokens: PREFILL_TOKENS } as const;
  return [
    { name: 'busy', measure: busyFraction },
    { name: 'memory', measure: () => memory.gigabytesPerSecond() },
    ...CONTEXTS.flatMap(decode),
    variant('llama.cpp', llama, { ...prefill, variant: 'flash' }),
    variant('llama.cpp', llama, { ...prefill, variant: 'plain' }),
    variant('looplm', looplm, { ...prefill, variant: 'depth 1' }),
  ];
}

interface MeasuredPair {
  readonly raw: RawRounds;
  readonly setup: string;
  readonly versions: Readonly<Record<string, string>>;
}

async function measurePair(pair: FormatPair, memory: MemoryReadTest): Promise<MeasuredPair> {
  const common = { numThreads: THREADS, contexts: CONTEXTS, seed: SEED };
  const llamaPath = await llamaModel(pair.llama, SEED);
  const looplmPath = await loopLMModel(pair.looplm, SEED);
  await using llama = await startPeer('llama-peer', { ...common, path: llamaPath });
  await using looplm = await startPeer('looplm-peer', { ...common, path: looplmPath });
  const variants = variantsOf(llama, looplm, memory);
  for (const each of variants) await each.measure(); // warm-up, not counted
  return {
    raw: await alternate(variants, ROUNDS),
    setup: `llama.cpp: ${llama.facts.setup}; looplm: ${looplm.facts.setup}`,
    versions: llama.facts.versions,
  };
}

if (!(await fileExists('benchmarks/llama-cpp/node_modules/node-llama-cpp'))) {
  execFileSync('npm', ['ci', '--prefix', 'benchmarks/llama-cpp'], { stdio: ['ignore', 2, 2] });
}
await using memory = await createMemoryReadTest(THREADS);
const measured = new Map<FormatPair, MeasuredPair>();
for (const pair of FORMAT_PAIRS) measured.set(pair, await measurePair(pair, memory));
const pairs = await Promise.all(
  [...measured].map(([pair, { raw, setup }]) =>
    summarize(pair, { raw, setup, contexts: CONTEXTS, prefillTokens: PREFILL_TOKENS, seed: SEED }),
  ),
);
const [first] = measured.values();
const result = {
  title: 'llama.cpp against looplm, per executed body',
  settings: {
    threads: THREADS,
    rounds: ROUNDS,
    decodedTokens: DECODED_TOKENS,
    prefillTokens: PREFILL_TOKENS,
    seed: SEED,
  },
  ...provenance(first!.versions),
  pairs,
  goals: goalsOf(pairs),
};
await writeResult('llama-cpp', result);
process.stdout.write(`${reportText(result)}\n`);
