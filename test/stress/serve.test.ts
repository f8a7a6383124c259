/** A short form of the soak that `npm run stress:serve` plays for minutes. */
import { expect, test } from 'vitest';
import { soak } from './serve.js';

test('of many requests, a third given up, each is accounted for once and answered as alone', async () => {
  const report = await soak({ seed: 7, count: 250, maxOpen: 24, numCompared: 40 });
  expect(report.faults).toEqual([]);
  expect(report.numCompared).toBe(40);
  expect(report.numPreemptions).toBeGreaterThan(0);
  const { answered = 0, left = 0, refused = 0 } = report.counts;
  expect(answered + left + refused).toBe(250);
  expect(left).toBeGreaterThan(250 / 6);
});
