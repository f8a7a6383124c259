/** Traces in pieces are the traces of the prompts, and can be stopped. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Engine } from '../../src/engine/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { generatorFor } from '../../src/util/random.js';
import { SMALL_MODEL, VOCAB_SIZE, makeModel } from './random-model.js';

let device: Device;
let engine: Engine;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  const { config, weights } = await makeModel(SMALL_MODEL);
  engine = await Engine.create({ device, config, weights });
}, 60_000);
afterAll(async () => {
  await engine.dispose();
  await device.dispose();
});

const ARRAYS = ['hidden', 'gateLogits', 'exitPdf', 'exitCdf', 'logits'] as const;

it('at chosen positions of several prompts, they hold the bits of the whole traces', async () => {
  const rng = generatorFor(20261128);
  const prompts = [1, 40, 64, 17, 60].map((length) => {
    const ids = Array.from({ length }, () => uniformInt(rng, 0, VOCAB_SIZE - 1));
    const positions = ids.map((_, position) => position).filter(() => uniformInt(rng, 0, 3) > 0);
    return { ids, positions: positions.length > 0 ? positions : [0] };
  });
  const wanted = prompts.flatMap(({ ids, positions }) =>
    positions.map((position) => ({ ids, position })),
  );
  let row = 0;
  for await (const piece of engine.tracePieces(prompts, { numLoops: 3 })) {
    expect(piece.length).toBeLessThanOrEqual(64);
    for (let index = 0; index < piece.length; index++, row++) {
      const { ids, position } = wanted[row]!;
      const whole = await engine.trace(ids, { numLoops: 3 });
      for (const name of ARRAYS) {
        const width = piece[name]!.length / (3 * piece.length);
        for (let loopIndex = 0; loopIndex < 3; loopIndex++) {
          const from = (length: number, at: number) => (loopIndex * length + at) * width;
          const [a, b] = [from(piece.length, index), from(ids.length, position)];
          expect(piece[name]!.subarray(a, a + width)).toEqual(whole[name]!.subarray(b, b + width));
        }
      }
    }
  }
  expect(row).toBe(wanted.length);
  expect(row).toBeGreaterThan(64);
});

it('many at once, which make room for their states at the same time, are as one after the other', async () => {
  const { config, weights } = await makeModel(SMALL_MODEL);
  await using fresh = await Engine.create({ device, config, weights });
  const prompts = Array.from({ length: 9 }, (_, index) =>
    Array.from({ length: 5 * (index + 1) }, (_value, n) => (n * n + index) % VOCAB_SIZE),
  );
  const together = await Promise.all(prompts.map((ids) => fresh.trace(ids)));
  for (const [index, ids] of prompts.entries()) {
    expect(together[index]).toEqual(await engine.trace(ids));
  }
});

it('a signal stops a trace before its next batch of tokens, and its cache is given back', async () => {
  const controller = new AbortController();
  const shown: number[] = [];
  const options = {
    signal: controller.signal,
    onProgress(executedLoops: number, totalLoops: number) {
      // They are run, and then read out.
      expect(totalLoops).toBe(2 * 4 * 60);
      shown.push(executedLoops);
      controller.abort(new Error('enough'));
    },
  };
  await engine.trace(Array<number>(60).fill(1)); // grows the cache
  const grown = await device.stats();
  await expect(engine.trace(Array<number>(60).fill(1), options)).rejects.toThrow('enough');
  expect(shown).toEqual([60]);
  expect(await device.stats()).toEqual(grown);
  const already = engine.trace([1], { signal: AbortSignal.abort(new Error('before')) });
  await expect(already).rejects.toThrow('before');
});
