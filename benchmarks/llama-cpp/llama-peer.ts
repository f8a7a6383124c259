/**
 * llama.cpp as a peer, on the processor alone, f16 keys and values.
 *
 * Every context length has a llama context of its own, with and without flash attention, filled once;
 * after a measurement the new positions are erased. All share the weights. With `generateNext` the head
 * runs and the best token is picked in native code; without it neither the head runs nor the
 * feed-forward part of the last layer.
 */
import { generatorFor } from 'looplm/data';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { type LlamaSequence, loadLlama } from './node-llama-cpp.js';
import type { Peer, PeerAnswer, PeerSettings } from './peer.js';
import { servePeer } from './peer.js';
import { LLAMA_VARIANTS, type LlamaVariant, SHAPE } from './models.js';

/** Tokens of one pass of the prefill; the faster of 256 and 512. */
const BATCH_SIZE = 512;
/** Room for the tokens that are decoded and erased again. */
const HEADROOM = 256;

async function erase(sequence: LlamaSequence, start: number): Promise<void> {
  const end = sequence.nextTokenIndex;
  if (end > start) await sequence.eraseContextTokenRanges([{ start, end }]);
}

/** Runs `tokens`, the last one with the head. */
async function evaluate(sequence: LlamaSequence, tokens: readonly number[]): Promise<void> {
  const last = [tokens.at(-1)!, { generateNext: { token: true } }] as const;
  await sequence.controlledEvaluate([...tokens.slice(0, -1), last]);
}

async function load({ path, numThreads, contexts, seed }: PeerSettings): Promise<Peer> {
  const { llama, backend, versions } = await loadLlama(numThreads);
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const rng = generatorFor(seed);
  const randomTokens = (count: number) =>
    Array.from({ length: count }, () => uniformInt(rng, 0, SHAPE.vocabSize - 1));
  const open = async (contextSize: number, flashAttention: boolean) => {
    const threads = { ideal: numThreads, min: numThreads };
    const options = { contextSize, batchSize: BATCH_SIZE, flashAttention, threads };
    return (await model.createContext(options)).getSequence();
  };
  const openAll = async (flashAttention: boolean) => {
    const filled = new Map<number, LlamaSequence>();
    for (const context of contexts) {
      const sequence = await open(context + HEADROOM, flashAttention);
      await sequence.evaluateWithoutGeneratingNewTokens(randomTokens(context));
      filled.set(context, sequence);
    }
    return { filled, empty: await open(BATCH_SIZE, flashAttention) };
  };
  const sequences = { flash: await openAll(true), plain: await openAll(false) };
  const sequencesOf = ({ flash }: LlamaVariant) => sequences[flash ? 'flash' : 'plain'];

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
    facts: { setup: `${backend}, batch ${BATCH_SIZE}`, versions },
    async answer(request) {
      const variant = LLAMA_VARIANTS[request.variant as keyof typeof LLAMA_VARIANTS];
      return request.ask === 'prefill'
        ? prefill(variant, request.numTokens)
        : decode(variant, request.context, request.numTokens);
    },
  };
}

servePeer(load);
