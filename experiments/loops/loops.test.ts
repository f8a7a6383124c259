/** The experiment on loops and layers: its runs change what they say, and its page tells the figures. */
import { expect, it } from 'vitest';
import { pageText } from './page.js';
import type { Results } from './results.js';
import { runKey } from './results.js';
import { DEPTHS, playRun, VARIANTS } from './runs.js';

it.each([
  'four loops',
  'two to six loops, drawn',
  'twice the layers at half-way, stacked',
] as const)('a run of %s ends with a loss at every depth', async (name) => {
  const { lossByDepth, seconds } = await playRun({ name, seed: 1, trainSteps: 4 });
  expect(lossByDepth).toHaveLength(DEPTHS);
  // hardly trained: about that of an even guess among 257, and none is the same as its neighbour
  for (const loss of lossByDepth) expect(Math.abs(loss - Math.log(257))).toBeLessThan(2);
  expect(new Set(lossByDepth).size).toBe(DEPTHS);
  expect(seconds).toBeGreaterThan(0);
});

it('the page tells what differs within a seed, as means over seeds', () => {
  const run = (loss: number, seconds: number) => ({
    lossByDepth: Array.from({ length: DEPTHS }, (_, at) => loss + at),
    seconds,
    peakBytes: 4e8,
  });
  const runs = Object.fromEntries(
    Object.keys(VARIANTS).flatMap((name, index) => [
      [runKey(name, 1), index === 0 ? run(2, 10) : run(1.9, 15)],
      [runKey(name, 2), index === 0 ? run(2.2, 40) : run(2.5, 60)],
    ]),
  );
  const results: Results = {
    settings: { trainSteps: 300, seeds: 2, tokensPerStep: 1024 },
    text: '0',
    commit: '0',
    machine: 'a machine',
    versions: {},
    runs,
  };
  const page = pageText(results);
  expect(page).toContain('| four loops | 2.100 ± 0.141 | 3.100 ± 0.141 |');
  expect(page).toContain('| gradients through one loop | +0.100 ± 0.283 | +0.100 ± 0.283 |');
  expect(page).toContain('| four loops | 1.00 | 400 MB |');
  expect(page).toContain('| gradients through one loop | 1.50 | 400 MB |');
});
