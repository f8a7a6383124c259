import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { KeptRuns } from './kept-runs.js';

let folder: string;
beforeEach(async () => {
  vi.spyOn(console, 'log').mockImplementation(() => {});
  folder = await mkdtemp(join(tmpdir(), 'looplm-kept-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

const FIGURES = { accuracy: 1 / 3, points: [0.1, 1e-17] };

it('a run is measured once, in this process and the next', async () => {
  const measure = vi.fn(() => Promise.resolve(FIGURES));
  const runs = await KeptRuns.open(['model', 3], folder);
  expect(await runs.figures('a', measure)).toBe(FIGURES);
  const again = await KeptRuns.open(['model', 3], folder);
  expect(await again.figures('a', measure)).toEqual(FIGURES);
  expect(measure).toHaveBeenCalledTimes(1);
  await again.figures('b', measure);
  expect(measure).toHaveBeenCalledTimes(2);
});

it('a run of something else, a failed one and a removed one are measured', async () => {
  const measure = vi.fn(() => Promise.resolve(FIGURES));
  const runs = await KeptRuns.open(['model', 3], folder);
  await expect(runs.figures('a', () => Promise.reject(new Error('stopped')))).rejects.toThrow();
  await runs.figures('a', measure);
  await (await KeptRuns.open(['model', 4], folder)).figures('a', measure);
  expect(measure).toHaveBeenCalledTimes(2);
  expect(await readdir(folder)).toHaveLength(2);
  await runs.remove();
  expect(await readdir(folder)).toHaveLength(1);
  await (await KeptRuns.open(['model', 3], folder)).figures('a', measure);
  expect(measure).toHaveBeenCalledTimes(3);
});
