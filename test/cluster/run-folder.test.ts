/** The folder of a machine that comes to a run when all is done: it has a model, and no snapshot. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { takeRunFolder } from '../../src/cli/training/run-folder.js';
import { memoryStore } from '../../src/cluster/index.js';
import { FileError } from '../../src/errors.js';
import type { Folder } from '../../src/model/index.js';
import { initializeWeights, memoryFolder, saveCheckpoint } from '../../src/model/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { TrainConfig } from '../../src/train/index.js';
import { DEFAULT_OUTER, trainTogether } from '../../src/train/index.js';
import { RUN_CONFIG, sourceOf } from '../train/tiny-run.js';

const CONFIG: TrainConfig = { ...RUN_CONFIG, trainSteps: 2, outer: DEFAULT_OUTER };
const EXTRA = ['tokenizer.json'];

test('the same line takes it again; other settings, and one that trains alone, do not', async () => {
  const path = mkdtempSync(join(tmpdir(), 'looplm-late-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const store = memoryStore();
  const trained: number[] = [];
  const work = async (folder: Folder) => {
    await using device = await createInlineDevice({ numThreads: 1 });
    return await trainTogether({
      config: CONFIG,
      device,
      store,
      folder,
      machine: 'm',
      source: sourceOf,
      weights: initializeWeights(CONFIG.model, 1),
      now: () => performance.now(),
      memoryBytes: () => 0,
      onNote: () => {},
      onProgress: ({ trainStep }) => trained.push(trainStep),
    });
  };
  /** What one sitting of the command line does. */
  const sit = async () => {
    const { folder, trainStepsDone, release } = await takeRunFolder(path, CONFIG, EXTRA);
    const { model, weights } = await work(folder);
    await saveCheckpoint(folder, model, weights, {
      dtype: 'f32',
      extraFiles: { 'tokenizer.json': '{}' },
    });
    await release();
    return trainStepsDone;
  };

  await work(memoryFolder('first', new Map()));
  expect(trained).toEqual([1, 2]);
  expect(await sit()).toBe(0);
  const files = readdirSync(path);
  expect(files).toContain('model.safetensors');
  expect(files).not.toContain('snapshot.safetensors');

  expect(await sit()).toBe(0);
  expect(readdirSync(path)).toEqual(files);
  expect(trained).toEqual([1, 2]);

  for (const other of [{ learningRate: 0.5 }, { outer: undefined }]) {
    const taking = takeRunFolder(path, { ...CONFIG, ...other }, EXTRA);
    await expect(taking).rejects.toThrow(FileError);
    await expect(taking).rejects.toThrow(/holds config\.json, .*Name another folder/);
  }
});
