/** A few hundred of the requests that `npm run stress` plays by the thousand. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { stress } from '../stress/stress.js';
import { SMALL_MODEL, makeModel } from './random-model.js';

const DRAW = { ...SMALL_MODEL, config: { ...SMALL_MODEL.config, maxPositionEmbeddings: 400 } };

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(async () => device.dispose());

it('loses nothing, mixes nothing up and gives all memory back', async () => {
  const { config, weights } = await makeModel(DRAW);
  const report = await stress(
    { device, config, weights },
    {
      seed: 8,
      count: 200,
      maxCalls: 24,
      pauseMs: 1,
      numCompared: { finished: 80, others: 30 },
    },
  );
  const { outcomes, numCompared, numPreemptions, faults } = report;
  expect(faults).toEqual([]);
  expect(outcomes.filter((outcome) => outcome.faults.length > 0)).toEqual([]);
  const ends = new Set(outcomes.map(({ end }) => end));
  expect(ends).toEqual(new Set(['finished', 'aborted', 'left', 'failed']));
  expect(numCompared.finished).toBe(80);
  expect(numCompared.others).toBeGreaterThan(0);
  expect(numPreemptions).toBeGreaterThan(0);
});
