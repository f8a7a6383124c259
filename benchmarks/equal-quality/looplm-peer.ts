/**
 * looplm as a peer, keys and values in i8, as by default in q4 and q8. A decode is one request whose
 * tokens exit at the depths of a schedule; its prompt, the same every time, is run once and then shared.
 */
import { generatorFor } from 'looplm/data';
import { Engine, fullDepth, parseSamplingOptions, replay } from 'looplm/engine';
import type { GenerationRequest } from 'looplm/engine';
import { loadWeights } from 'looplm/model';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { NUM_LOOPS, scheduleRound } from '../depth/schedule.js';
import { readInUse } from '../lib/resident.js';
import { mean } from '../lib/statistics.js';
import type { Peer, PeerSettings } from '../llama-cpp/peer.js';
import { servePeer } from '../llama-cpp/peer.js';
import type { EqualPeerAnswer, EqualPeerRequest } from './protocol.js';
import {
  CONTEXT,
  DECODED_TOKENS,
  decodeName,
  KV_POLICIES,
  MEAN_DEPTHS,
  PREFILL_TOKENS,
} from './protocol.js';

type LoopLMPeer = Peer<EqualPeerRequest, EqualPeerAnswer>;
type KvPolicy = (typeof KV_POLICIES)[number];

async function load({ path, numThreads, vocabSize, seed }: PeerSettings): Promise<LoopLMPeer> {
  const device = await createNodeDevice({ numThreads });
  const loaded = await loadWeights(nodeFolder(path));
  const engine = await Engine.create({ device, ...loaded, kvDtype: 'i8' });
  const rng = generatorFor(seed);
  const randomIds = (count: number) =>
    Array.from({ length: count }, () => uniformInt(rng, 0, vocabSize - 1));
  const sampling = parseSamplingOptions({ temperature: 0 });

  /** Milliseconds until each of a request's tokens, from the token before it. */
  async function times(request: Omit<GenerationRequest, 'sampling'>): Promise<readonly number[]> {
    const found: number[] = [];
    let last = performance.now();
    for await (const { kind } of engine.generate([{ ...request, sampling, speculation: 'off' }])) {
      if (kind !== 'token') continue;
      const now = performance.now();
      found.push(now - last);
      last = now;
    }
    return found;
  }

  const numScheduled = scheduleRound(0, seed, MEAN_DEPTHS).length;
  // What is decoded has the context in its middle.
  const promptIds = randomIds(CONTEXT - Math.floor(numScheduled / 2));

  async function decode(round: number, kvPolicy: KvPolicy): Promise<EqualPeerAnswer> {
    const schedule = scheduleRound(round, seed, MEAN_DEPTHS);
    // The prompt gives the first token.
    const depths = [NUM_LOOPS, ...schedule.map(({ depth }) => depth)];
    const exitPolicy = replay(depths);
    const [, ...tokens] = await times({
      promptIds,
      maxNewTokens: depths.length,
      exitPolicy,
      kvPolicy,
    });
    const meanOf = (meanDepth: number) =>
      mean(tokens.filter((_, index) => schedule[index]!.meanDepth === meanDepth));
    return Object.fromEntries(
      MEAN_DEPTHS.map((meanDepth) => [decodeName(kvPolicy, meanDepth), [meanOf(meanDepth)]]),
    );
  }

  /** Full depth, whatever the prompt's tokens would need. */
  async function prefill(): Promise<readonly number[]> {
    return times({
      promptIds: randomIds(PREFILL_TOKENS),
      maxNewTokens: 1,
      exitPolicy: fullDepth(),
      prefill: 'full',
      cachePrefix: false,
    });
  }

  const decodeFully = () =>
    times({ promptIds, maxNewTokens: DECODED_TOKENS, exitPolicy: fullDepth() });

  return {
    facts: { setup: 'i8 keys and values, prefill at full depth', versions: {} },
    async answer(request) {
      if (request.ask === 'prefill') return { prefill: await prefill() };
      if (request.ask === 'memory') {
        const { resident, inUse } = await readInUse(decodeFully);
        return { resident: [resident], 'in use': [inUse] };
      }
      const { round } = request;
      const answers: EqualPeerAnswer[] = [];
      for (const kvPolicy of round % 2 === 0 ? KV_POLICIES : KV_POLICIES.toReversed()) {
        answers.push(await decode(round, kvPolicy));
      }
      return Object.assign({}, ...answers) as EqualPeerAnswer;
    },
  };
}

servePeer(load);
