/**
 * llama.cpp as a peer, as it is used by default: weights mapped and repacked as it likes, flash
 * attention, keys and values in f16. The prompt of a prefill, cut short, is the context of the decodes.
 */
import { generatorFor } from 'looplm/data';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { readInUse } from '../lib/resident.js';
import { erase, evaluate, loadLlama } from '../llama-cpp/node-llama-cpp.js';
import type { Peer, PeerSettings } from '../llama-cpp/peer.js';
import { servePeer } from '../llama-cpp/peer.js';
import type { EqualPeerAnswer, EqualPeerRequest } from './protocol.js';
import { CONTEXT, DECODED_TOKENS, PREFILL_TOKENS } from './protocol.js';

type LlamaPeer = Peer<EqualPeerRequest, EqualPeerAnswer>;

async function load({ path, numThreads, vocabSize, seed }: PeerSettings): Promise<LlamaPeer> {
  const { llama, backend, versions } = await loadLlama(numThreads);
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: PREFILL_TOKENS,
    batchSize: PREFILL_TOKENS,
    flashAttention: true,
    threads: { ideal: numThreads, min: numThreads },
  });
  const sequence = context.getSequence();
  const rng = generatorFor(seed);
  const randomTokens = (count: number) =>
    Array.from({ length: count }, () => uniformInt(rng, 0, vocabSize - 1));

  async function decode(): Promise<readonly number[]> {
    await erase(sequence, CONTEXT);
    const times: number[] = [];
    for (const token of randomTokens(DECODED_TOKENS)) {
      const start = performance.now();
      await evaluate(sequence, [token]);
      times.push(performance.now() - start);
    }
    return times;
  }

  async function prefill(): Promise<number> {
    await erase(sequence, 0);
    const tokens = randomTokens(PREFILL_TOKENS);
    const start = performance.now();
    await evaluate(sequence, tokens);
    return performance.now() - start;
  }

  return {
    facts: { setup: `${backend}, f16 keys and values, batch ${PREFILL_TOKENS}`, versions },
    async answer({ ask }) {
      if (ask === 'prefill') return { prefill: [await prefill()] };
      if (ask === 'decode') return { decode: await decode() };
      const { resident, inUse } = await readInUse(decode);
      return { resident: [resident], 'in use': [inUse] };
    },
  };
}

servePeer(load);
