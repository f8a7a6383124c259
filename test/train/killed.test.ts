/** A process killed at any moment loses the work since its last snapshot and nothing else. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { mersenne } from 'pure-rand/generator/mersenne';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { memoryFolder } from '../../src/model/index.js';
import { METRICS_FILE, SNAPSHOT_FILE } from '../../src/train/index.js';
import { RUN_CONFIG, runStaged, runTiny } from './tiny-run.js';

const script = fileURLToPath(new URL('../../dist/test/train/tiny-run.js', import.meta.url));
if (!existsSync(script)) throw new Error('dist/ is missing: run `npm run build` first.');

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'looplm-killed-'));
});
afterEach(() => rm(path, { recursive: true, force: true }));

/** Runs the program, kills it soon after it reports a train step; resolves to what ended it. */
async function runUntil(
  isDue: (trainStep: number, numReported: number) => boolean,
  delayMs: number,
  words: readonly string[],
) {
  const child = spawn(process.execPath, [script, path, ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal }));
  });
  const trainSteps: number[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    trainSteps.push(Number(line));
    if (isDue(trainSteps.at(-1)!, trainSteps.length)) {
      setTimeout(() => child.kill('SIGKILL'), delayMs);
    }
  }
  return { ...(await ended), trainSteps };
}

it('a run killed twice with SIGKILL ends in the bytes of an uninterrupted one', async () => {
  const files = new Map<string, Uint8Array>();
  await runTiny({ folder: memoryFolder('whole', files) });

  const rng = mersenne(11);
  const kills = [uniformInt(rng, 1, 5), uniformInt(rng, 7, 10)];
  const firstTrainSteps: number[] = [];
  for (const killAt of kills) {
    const isDue = (trainStep: number) => trainStep === killAt;
    const { signal, trainSteps } = await runUntil(isDue, uniformInt(rng, 0, 3), ['hang']);
    expect(signal).toBe('SIGKILL');
    firstTrainSteps.push(trainSteps[0]!);
  }
  const { code, trainSteps } = await runUntil(() => false, 0, []);
  expect(code).toBe(0);
  firstTrainSteps.push(trainSteps[0]!);

  // every start goes on right after a snapshot
  expect(firstTrainSteps[0]).toBe(1);
  for (const first of firstTrainSteps) expect((first - 1) % RUN_CONFIG.snapshotEvery).toBe(0);
  expect(firstTrainSteps.at(-1)).toBeGreaterThan(1);
  expect(trainSteps.at(-1)).toBe(RUN_CONFIG.trainSteps);
  for (const name of [SNAPSHOT_FILE, METRICS_FILE]) {
    const bytes = await readFile(join(path, name));
    expect(bytes.equals(files.get(name)!), name).toBe(true);
  }
  const left = (await readdir(path)).filter((name) => !name.endsWith('.tmp'));
  expect(left.toSorted()).toEqual([METRICS_FILE, SNAPSHOT_FILE].toSorted());
}, 120_000);

it('a run of several stages killed again and again ends in the bytes of an uninterrupted one', async () => {
  const files = new Map<string, Uint8Array>();
  await runStaged({ folder: memoryFolder('whole', files) });

  const rng = mersenne(12);
  let numKilled = 0;
  for (let sitting = 0; sitting < 6; sitting++) {
    // few enough train steps that a sitting may end before its first snapshot
    const count = uniformInt(rng, 1, 5);
    const isDue = (_: number, numReported: number) => numReported === count;
    const { signal, code } = await runUntil(isDue, uniformInt(rng, 0, 5), ['hang', 'staged']);
    if (code === 0) break;
    expect(signal).toBe('SIGKILL');
    numKilled++;
  }
  expect(numKilled).toBeGreaterThan(2);
  const { code } = await runUntil(() => false, 0, ['staged']);
  expect(code).toBe(0);
  for (const name of [SNAPSHOT_FILE, METRICS_FILE]) {
    const bytes = await readFile(join(path, name));
    expect(bytes.equals(files.get(name)!), name).toBe(true);
  }
}, 120_000);
