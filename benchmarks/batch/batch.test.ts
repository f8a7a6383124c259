/** Schedules of streams by hand, and guesses that are right as often as is asked. */
import { Engine, parseSamplingOptions } from 'looplm/engine';
import { initializeWeights } from 'looplm/model';
import { createInlineDevice } from 'looplm/runtime';
import { expect, it } from 'vitest';
import { benchmarkConfig } from '../lib/models.js';
import { replayedGuesses, stepsSaved } from './guesses.js';
import { inLockstep, meanOf, NUM_TOKENS, scheduleStreams, withDeferredLoops } from './schedule.js';

it('in lockstep every token is as deep as the deepest of its row', () => {
  expect(
    inLockstep([
      [1, 4, 2],
      [3, 1, 2],
    ]),
  ).toEqual([
    [3, 4, 2],
    [3, 4, 2],
  ]);
});

it('deferred loops are those of the deepest token that follows', () => {
  expect(withDeferredLoops([1, 3, 2, 1])).toEqual([3, 3, 2, 1]);
});

it('all streams run as many loops, mean 2.5, each in its own order', () => {
  const streams = scheduleStreams(8, 0, 1);
  expect(streams.map((own) => own.length)).toEqual(Array(8).fill(NUM_TOKENS));
  expect(streams.map((own) => meanOf([own]))).toEqual(Array(8).fill(2.5));
  expect(new Set(streams.map((own) => own.join())).size).toBeGreaterThan(4);
  expect(scheduleStreams(8, 0, 1)).toEqual(streams);
});

it('right guesses save all steps but those of their depth, wrong ones none', () => {
  expect(stepsSaved(1, 1)).toBe(4);
  expect(stepsSaved(2, 0.5)).toBeCloseTo(4 / 3);
  expect(stepsSaved(3, 0)).toBe(1);
});

it('replayed guesses are right as often as is asked, and change no token', async () => {
  const config = benchmarkConfig({
    hiddenSize: 16,
    intermediateSize: 32,
    numHiddenLayers: 1,
    numAttentionHeads: 2,
    vocabSize: 50,
  });
  const device = await createInlineDevice({ numThreads: 1 });
  const weights = initializeWeights(config, 1);
  const engine = await Engine.create({ device, config, weights });
  const ids = Array.from({ length: 60 }, (_, n) => (n * n) % 50);
  for (const [share, speculation] of [
    [1, 1],
    [0.5, 1],
    [0.8, 3],
    [0, 2],
  ] as const) {
    const said: number[] = [];
    let accepted = 0;
    for await (const event of engine.generate([
      {
        promptIds: [1, 2],
        maxNewTokens: ids.length,
        ...replayedGuesses(ids, config.numLoops, share),
        sampling: parseSamplingOptions({}),
        speculation,
      },
    ])) {
      if (event.kind === 'token') said.push(event.tokenId);
      else accepted = event.acceptedTokens;
    }
    expect(said).toEqual(ids);
    // All tokens but the first few are guessed, and a wrong one takes no right ones with it for long.
    expect(accepted / ids.length).toBeGreaterThan(share - 0.1);
    expect(accepted / ids.length).toBeLessThan(share + 0.05);
  }
  await engine.dispose();
  await device.dispose();
});
