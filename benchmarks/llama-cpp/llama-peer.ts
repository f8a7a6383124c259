/**
 * llama.cpp as a peer, on the processor alone.
 *
 * Every context length has a llama context of its own for each kind of attention, filled once;
 * after a measurement the new positions are erased. All share the weights. With `generateNext` the head
 * runs and the best token is picked in native code; without it neither the head runs nor the
 * feed-forward part of the last layer.
 */
import { generatorFor } from 'looplm/data';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { erase, evaluate, type LlamaSequence, loadLlama } from './node-llama-cpp.js';
import type { Peer, PeerAnswer, PeerSettings } from './peer.js';
import { servePeer } from './peer.js';
import type { LlamaVariant } from './models.js';
import { CONTEXTS, LLAMA_ATTENTION, LLAMA_VARIANTS } from './models.js';

/** Tokens of one pass of the prefill; the faster of 256 and 512. */
const BATCH_SIZE = 512;
/** Room for the tokens that are decoded and erased again. */
const HEADROOM = 256;

type LlamaAttention = keyof typeof LLAMA_ATTENTION;

async function load({ path, numThreads, vocabSize, seed }: PeerSettings): Promise<Peer> {
  const { llama, backend, versions } = await loadLlama(numThreads);
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const rng = generatorFor(seed);
  const randomTokens = (count: number) =>
    Array.from({ length: count }, () => uniformInt(rng, 0, vocabSize - 1));
  const open = async (contextSize: number, attention: LlamaAttention) => {
    const { flashAttention, cache } = LLAMA_ATTENTION[attention];
    const context = await model.createContext({
      contextSize,
      batchSize: BATCH_SIZE,
      flashAttention,
      experimentalKvCacheKeyType: cache,
      experimentalKvCacheValueType: cache,
      threads: { ideal: numThreads, min: numThreads },
    });
    return context.getSequence();
  };
  const openAll = async (attention: LlamaAttention) => {
    const filled = new Map<number, LlamaSequence>();
    for (const context of CONTEXTS) {
      const sequence = await open(context + HEADROOM, attention);
      await sequence.evaluateWithoutGeneratingNewTokens(randomTokens(context));
      filled.set(context, sequence);
    }
    return { filled, empty: await open(BATCH_SIZE, attention) };
  };
  const sequences = {
    flash: await openAll('flash'),
    plain: await openAll('plain'),
    'flash, q8_0 cache': await openAll('flash, q8_0 cache'),
  };
  const sequencesOf = ({ attention }: LlamaVariant) => sequences[attention];

  async function prefill(variant: LlamaVariant, numTokens: number): Promise<PeerAnswer> {
    const { empty } = sequencesOf(variant);
    const tokens = randomTokens(numTokens);
    await erase(empty, 0);
    const start = performance.now();
    await evaluate(empty, tokens);
    return [performance.now() - start];
  }

  async function decode(
    variant: LlamaVariant,
    context: number,
    numTokens: number,
  ): Promise<PeerAnswer> {
    const sequence = sequencesOf(variant).filled.get(context)!;
    const times: number[] = [];
    for (const token of randomTokens(numTokens)) {
      const start = performance.now();
      if (variant.head) await evaluate(sequence, [token]);
      else await sequence.evaluateWithoutGeneratingNewTokens([token]);
      times.push(performance.now() - start);
    }
    await erase(sequence, context);
    return times;
  }

  return {
    facts: { setup: `${backend}, f16 keys and values or q8_0, batch ${BATCH_SIZE}`, versions },
    async answer(request) {
      const variant = LLAMA_VARIANTS[request.variant as keyof typeof LLAMA_VARIANTS];
      return request.ask === 'prefill'
        ? prefill(variant, request.numTokens)
        : decode(variant, request.context, request.numTokens);
    },
  };
}

servePeer(load);
