/**
 * looplm on Ouro against llama.cpp on the Qwen3 that the Ouro paper finds equal to it: decoding by mean
 * depth, prefill, memory.
 * `npm run bench:equal-quality -- [--rounds N] [--layers N] [--json FILE]`; fewer layers are to try it out.
 *
 * Both sides are loaded at the same time, each in a process of its own; one waits while the other is
 * measured, and the order turns round every round.
 */
import { busyFraction } from '../lib/busy.js';
import { readLayers } from '../lib/flags.js';
import { provenance, writeResult } from '../lib/harness.js';
import type { Roofs } from '../lib/roofs.js';
import { openRoofs } from '../lib/roofs.js';
import { installLlama } from '../llama-cpp/node-llama-cpp.js';
import { startPeer } from '../llama-cpp/peer.js';
import type { Pair } from './models.js';
import { DENSE_SHAPES, modelsOf, namesOf, PAIRS } from './models.js';
import type { EqualPeer, EqualPeerRequest } from './protocol.js';
import { CONTEXT, DECODED_TOKENS, PREFILL_TOKENS } from './protocol.js';
import type { PairResult } from './report.js';
import { equalQualityText, goalsOf } from './report.js';
import { summarize } from './summary.js';

const THREADS = 2;
/** Even, see depth/schedule.ts. */
const ROUNDS = 2;
const SEED = 1;
/** Below that of both vocabularies. */
const VOCAB_SIZE = 49_152;

const flags = readLayers(ROUNDS);

interface MeasuredPair extends PairResult {
  readonly versions: Readonly<Record<string, string>>;
}

async function measurePair(pair: Pair, roofs: Roofs): Promise<MeasuredPair> {
  const names = namesOf(pair, flags.layers);
  const paths = await modelsOf(pair, SEED, flags.layers);
  const start = (side: keyof typeof paths): Promise<EqualPeer> =>
    startPeer(new URL(`./${side}-peer.js`, import.meta.url), {
      path: paths[side],
      numThreads: THREADS,
      vocabSize: side === 'llama' ? DENSE_SHAPES[pair.dense].vocabSize : VOCAB_SIZE,
      seed: SEED,
    });
  await using llama = await start('llama');
  await using looplm = await start('looplm');
  const sides = [
    ['llama.cpp', llama],
    ['looplm', looplm],
  ] as const;
  const raw: Record<string, number[]> = {};
  const note = (name: string, values: readonly number[]) => {
    (raw[name] ??= []).push(...values.map((value) => Number(value.toFixed(3))));
    process.stderr.write(`${names.looplm}, ${name}: ${values[0]!.toPrecision(4)}\n`);
  };
  const ask = async (request: EqualPeerRequest, isReversed: boolean) => {
    for (const [side, peer] of isReversed ? sides.toReversed() : sides) {
      const answer = await peer.answer(request);
      for (const [what, values] of Object.entries(answer)) note(`${side}, ${what}`, values);
    }
  };
  for (const [, peer] of sides) await peer.answer({ ask: 'memory' }); // warms up, not counted
  for (let round = 0; round < flags.rounds; round++) {
    const isReversed = round % 2 === 1;
    note('busy', [await busyFraction()]);
    await roofs.product();
    await ask({ ask: 'prefill' }, isReversed);
    await roofs.memory();
    await ask({ ask: 'decode', round }, isReversed);
  }
  await ask({ ask: 'memory' }, false);
  const setup = `llama.cpp: ${llama.facts.setup}; looplm: ${looplm.facts.setup}`;
  return { ...summarize(raw), ...names, setup, raw, versions: llama.facts.versions };
}

await installLlama();
await using roofs = await openRoofs(THREADS);
const pairs: PairResult[] = [];
let versions = {};
for (const pair of PAIRS) {
  const { versions: found, ...result } = await measurePair(pair, roofs);
  versions = found;
  pairs.push(result);
}
const result = {
  title: 'Against a dense model of equal quality',
  settings: {
    threads: THREADS,
    rounds: flags.rounds,
    context: CONTEXT,
    decodedTokens: DECODED_TOKENS,
    prefillTokens: PREFILL_TOKENS,
    seed: SEED,
    ...(flags.layers !== undefined && { layers: flags.layers }),
  },
  ...provenance(versions),
  roofs: roofs.rounds,
  pairs,
  goals: goalsOf(pairs),
};
await writeResult('equal-quality', result, flags.json);
process.stdout.write(`${equalQualityText(result)}\n`);
