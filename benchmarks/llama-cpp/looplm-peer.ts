/**
 * looplm as a peer, on the processor alone, keys and values in i8, as by default in q4 and q8.
 *
 * Every context length and depth has a generation of its own, started once; it computes only while a
 * token is awaited, so it waits between measurements and goes on where it was.
 */
import { LoopLM, type TextEvent } from 'looplm';
import { generatorFor } from 'looplm/data';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { setTimeout } from 'node:timers/promises';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { CONTEXTS, LOOPLM_VARIANTS } from './models.js';
import type { Peer, PeerAnswer, PeerSettings } from './peer.js';
import { servePeer } from './peer.js';

/** Tokens that the engine has ready, or under way, when one is asked for. */
const NUM_AHEAD = 3;

/** More than any number of rounds asks for. */
const MAX_NEW_TOKENS = 2048;

async function load({ path, numThreads, vocabSize, seed }: PeerSettings): Promise<Peer> {
  const device = await createNodeDevice({ numThreads });
  const model = await LoopLM.load(nodeFolder(path), { device, ownsDevice: true, kvDtype: 'i8' });
  const rng = generatorFor(seed);
  const generate = (promptLength: number, depth: number, maxNewTokens: number) => {
    const ids = Array.from({ length: promptLength }, () => uniformInt(rng, 0, vocabSize - 1));
    return model.generate(ids, {
      exitPolicy: `fixed:${depth}`,
      prefill: 'deferred', // a loop of the prompt runs only if a token goes as deep
      maxNewTokens,
      ignoreEos: true,
      cachePrefix: false,
      sampling: { temperature: 0 },
    });
  };
  const running = new Map<string, ReturnType<typeof generate>>();
  for (const [variant, depth] of Object.entries(LOOPLM_VARIANTS)) {
    for (const context of CONTEXTS) {
      const generation = generate(context, depth, MAX_NEW_TOKENS);
      await generation.next(); // the prefill
      running.set(`${variant} ${context}`, generation);
    }
  }

  async function decode(variant: string, context: number, numTokens: number): Promise<PeerAnswer> {
    const generation = running.get(`${variant} ${context}`)!;
    const times: number[] = [];
    for (let n = -NUM_AHEAD; n < numTokens; n++) {
      const start = performance.now();
      const event: IteratorResult<TextEvent, void> = await generation.next();
      if (event.done || event.value.kind !== 'token') throw new Error('the generation ended');
      if (n >= 0) times.push(performance.now() - start);
    }
    // Those that are computed ahead, so that the other side has the machine for itself.
    await setTimeout((NUM_AHEAD + 1) * Math.max(...times));
    return times;
  }

  async function prefill(
    variant: keyof typeof LOOPLM_VARIANTS,
    numTokens: number,
  ): Promise<PeerAnswer> {
    const generation = generate(numTokens, LOOPLM_VARIANTS[variant], 1);
    const start = performance.now();
    await generation.next();
    const elapsed = performance.now() - start;
    await generation.return(undefined);
    return [elapsed];
  }

  return {
    facts: { setup: 'i8 keys and values', versions: {} },
    answer: (request) =>
      request.ask === 'prefill'
        ? prefill(request.variant as keyof typeof LOOPLM_VARIANTS, request.numTokens)
        : decode(request.variant, request.context, request.numTokens),
  };
}

servePeer(load);
