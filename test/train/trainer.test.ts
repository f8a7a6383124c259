/**
 * A training run is a function of its config and data, however often it is stopped; and it says what
 * is wrong instead of writing it down.
 */
import { describe, expect, it } from 'vitest';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import type { Folder } from '../../src/model/index.js';
import { initializeWeights } from '../../src/model/index.js';
import type { TrainConfig } from '../../src/train/index.js';
import { METRICS_FILE, SNAPSHOT_FILE, parseMetrics, readSnapshot } from '../../src/train/index.js';
import { encodeSafetensors, openSafetensors } from '../../src/util/safetensors.js';
import type { SafetensorsTensor } from '../../src/util/safetensors.js';
import type { Files } from './run-files.js';
import { folderOf, stoppedAfter } from './run-files.js';
import { RUN_CONFIG, runTiny } from './tiny-run.js';

const { trainSteps, evaluateEvery } = RUN_CONFIG;

const trained = async (): Promise<Files> => {
  const files: Files = new Map();
  await runTiny({ folder: folderOf(files) });
  return files;
};
const whole = trained();

const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
const recordsOf = (files: Files) => parseMetrics(textOf(files.get(METRICS_FILE)));

const isSame = (a: Float32Array, b: Float32Array): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index]);

/** Runs until write number `cut` fails, or to the end; resolves to the number of writes before. */
async function writesUntilCut(folder: Folder, cut: number, config: TrainConfig): Promise<number> {
  let numWrites = 0;
  const cutting: Folder = {
    ...folder,
    async write(name, content) {
      if (numWrites === cut) throw new Error('power cut');
      numWrites++;
      await folder.write(name, content);
    },
  };
  const run = runTiny({ folder: cutting, config });
  if (cut === Infinity) await run;
  else await expect(run).rejects.toThrow('power cut');
  return numWrites;
}

describe('an interrupted run', () => {
  it('stopped by its signal after any train step and resumed is the uninterrupted one', async () => {
    const expected = await whole;
    for (const stops of [[1], [3], [4], [9], [2, 5, 7, 10]]) {
      const files: Files = new Map();
      for (const stop of stops) {
        const result = await runTiny({ folder: folderOf(files), ...stoppedAfter(stop) });
        expect(result).toMatchObject({ trainStepsDone: stop, finished: false });
      }
      const result = await runTiny({ folder: folderOf(files) });
      expect(result).toMatchObject({ trainStepsDone: trainSteps, finished: true });
      expect(files).toEqual(expected);
    }
  });

  it('cut off before any one of its writes and resumed is the uninterrupted one', async () => {
    const config = { ...RUN_CONFIG, trainSteps: 4, logEvery: 2, snapshotEvery: 2 };
    const expected: Files = new Map();
    const numWrites = await writesUntilCut(folderOf(expected), Infinity, config);
    expect(numWrites).toBe(6); // metrics when they are logged and when a snapshot is due, snapshots
    for (let last = 0; last < numWrites; last++) {
      const files: Files = new Map();
      expect(await writesUntilCut(folderOf(files), last, config)).toBe(last);
      await runTiny({ folder: folderOf(files), config });
      expect(files).toEqual(expected);
    }
  });

  it('that is stopped before it begins writes its start and no metrics', async () => {
    const files: Files = new Map();
    const result = await runTiny({ folder: folderOf(files), signal: AbortSignal.abort() });
    expect(result).toMatchObject({ trainStepsDone: 0, finished: false });
    await runTiny({ folder: folderOf(files) });
    expect(files).toEqual(await whole);
  });
});

it('stage II, which trains the gate alone, resumes like any other', async () => {
  const objective = { kind: 'stage-2', target: 'forward', k: 50, gamma: 0.005 } as const;
  const config: TrainConfig = { ...RUN_CONFIG, objective };
  const expected: Files = new Map();
  const { weights } = await runTiny({ folder: folderOf(expected), config });
  const files: Files = new Map();
  await runTiny({ folder: folderOf(files), config, ...stoppedAfter(4) });
  await runTiny({ folder: folderOf(files), config });
  expect(files).toEqual(expected);
  const start = initializeWeights(config.model, 1);
  const changed = [...weights].filter(([name, values]) => !isSame(values, start.get(name)!));
  expect(changed.map(([name]) => name)).toEqual([
    'model.early_exit_gate.weight',
    'model.early_exit_gate.bias',
  ]);
});

describe('a finished run', () => {
  it('has one record of every train step and evaluations where they are due', async () => {
    const records = recordsOf(await whole);
    const updates = records.filter((record) => 'loss' in record);
    const evaluations = records.filter((record) => 'evaluation' in record);
    const steps = Array.from({ length: trainSteps }, (_, index) => index + 1);
    expect(updates.map(({ trainStep }) => trainStep)).toEqual(steps);
    const due = steps.filter((step) => step % evaluateEvery === 0 || step === trainSteps);
    expect(evaluations.map(({ trainStep }) => trainStep)).toEqual(due);
  });

  it('returns the weights of its snapshot, and again when it is started again', async () => {
    const files = new Map(await whole);
    const { weights } = await runTiny({ folder: folderOf(files) });
    const snapshot = await readSnapshot(folderOf(files), RUN_CONFIG);
    expect(snapshot!.weights).toEqual(weights);
    expect(snapshot!.trainSteps).toBe(trainSteps);
    expect(files).toEqual(await whole);
  });

  it('keeps an evaluation that is not a number from spoiling the metrics', async () => {
    const files: Files = new Map();
    const evaluate = async () => ({ rate: NaN });
    await runTiny({ folder: folderOf(files), evaluate });
    await runTiny({ folder: folderOf(files), evaluate });
    expect(recordsOf(files)).toContainEqual({ trainStep: trainSteps, evaluation: { rate: NaN } });
  });
});

describe('a folder', () => {
  it.each([
    [{ learningRate: 0.02 }, /learningRate was 0\.01 and is 0\.02\. Use the settings/],
    [{ seed: 6 }, /other settings: seed was 5 and is 6\./],
    [{ data: { documents: 'pairs' } }, /data\.documents was "reversed pairs" and is "pairs"/],
    [{ model: { ...RUN_CONFIG.model, numLoops: 4 } }, /model\.numLoops was 3 and is 4/],
    [
      { objective: { kind: 'last-loop' } },
      /objective\.kind was "stage-1" and is "last-loop", objective\.beta was 0\.1 and is absent/,
    ],
    [
      { trainSteps: 10, accumulate: 1, logEvery: 9, snapshotEvery: 9, evaluateEvery: 9, seed: 9 },
      /trainSteps was 11 and is 10, .* and 1 more\. Use/,
    ],
  ] satisfies [Partial<TrainConfig>, RegExp][])('of a run refuses %o', async (other, says) => {
    const folder = folderOf(new Map(await whole));
    const failure = runTiny({ folder, config: { ...RUN_CONFIG, ...other } });
    await expect(failure).rejects.toThrow(ConfigError);
    await expect(failure).rejects.toThrow(says);
  });

  interface Contents {
    tensors: SafetensorsTensor[];
    readonly metadata: Record<string, string>;
  }
  const lacking = (name: string) => (contents: Contents) => {
    contents.tensors = contents.tensors.filter((tensor) => tensor.name !== name);
  };
  const DAMAGES: readonly { what: string; edit: (contents: Contents) => void }[] = [
    { what: 'a missing weight', edit: lacking('param:model.norm.weight') },
    { what: 'a missing moment', edit: lacking('m:model.norm.weight') },
    {
      what: 'a stranger',
      edit: ({ tensors }) =>
        tensors.push({ name: 'x', shape: [1], dtype: 'F32', data: Float32Array.of(1) }),
    },
    {
      what: 'a misshaped weight',
      edit: ({ tensors }) => {
        const index = tensors.findIndex(({ name }) => name === 'param:lm_head.weight');
        tensors[index] = { ...tensors[index]!, shape: [8, 11] };
      },
    },
    { what: 'a NaN', edit: ({ tensors }) => (tensors[3]!.data as Float32Array).fill(NaN, 7, 8) },
    { what: 'no config', edit: ({ metadata }) => delete metadata['config'] },
    {
      what: 'half a config',
      edit: ({ metadata }) => {
        metadata['config'] = metadata['config']!.slice(9);
      },
    },
    { what: 'no count', edit: ({ metadata }) => delete metadata['trainSteps'] },
    {
      what: 'a wrong count',
      edit: ({ metadata }) => {
        metadata['trainSteps'] = '-3';
      },
    },
    {
      what: 'no moments of a weight that is trained',
      edit: (contents) => ['m', 'v'].forEach((slot) => lacking(`${slot}:lm_head.weight`)(contents)),
    },
    {
      what: 'a broken account of the run',
      edit: ({ metadata }) => {
        metadata['progress'] = '{"rollbacks":[{}],"recentLosses":[]}';
      },
    },
  ];

  /** Files of a run whose snapshot was changed by hand. */
  async function edited(edit: (contents: Contents) => void): Promise<Files> {
    const files = new Map(await whole);
    const reader = await openSafetensors(await folderOf(files).open(SNAPSHOT_FILE));
    const contents: Contents = { tensors: [], metadata: Object.fromEntries(reader.metadata) };
    for (const { name, shape } of reader.entries.values()) {
      const data = await reader.readFloat32(name);
      contents.tensors.push({ name, shape, dtype: 'F32', data });
    }
    edit(contents);
    return files.set(SNAPSHOT_FILE, encodeSafetensors(contents.tensors, contents.metadata));
  }

  it('whose snapshot says nothing of spikes, as those of before, goes on', async () => {
    const files = await edited(({ metadata }) => delete metadata['progress']);
    const snapshot = await readSnapshot(folderOf(files), RUN_CONFIG);
    expect(snapshot).toMatchObject({ trainSteps, rollbacks: [], recentLosses: [] });
    expect(await runTiny({ folder: folderOf(files) })).toMatchObject({ finished: true });
  });

  it.each(DAMAGES)('whose snapshot has $what is a CheckpointError', async ({ edit }) => {
    const folder = folderOf(await edited(edit));
    const failure = await runTiny({ folder }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CheckpointError);
    expect((failure as Error).message).toMatch(/^run\/snapshot\.safetensors is damaged: .*\.$/);
  });

  it('whose snapshot is cut off is a CheckpointError', async () => {
    const files = new Map(await whole);
    const bytes = files.get(SNAPSHOT_FILE)!;
    for (const length of [0, 5, 100, bytes.length - 1]) {
      files.set(SNAPSHOT_FILE, bytes.slice(0, length));
      await expect(runTiny({ folder: folderOf(files) })).rejects.toThrow(CheckpointError);
    }
  });
});

describe('a run that diverges', () => {
  const constant = { kind: 'constant', warmupTrainSteps: 0 } as const;

  it('stops with the train step and the kind of trouble, and keeps the last good snapshot', async () => {
    const files: Files = new Map();
    const config: TrainConfig = {
      ...RUN_CONFIG,
      snapshotEvery: 1,
      schedule: constant,
      learningRate: 1e25,
    };
    const failure = await runTiny({ folder: folderOf(files), config }).catch(
      (error: unknown) => error,
    );
    expect(failure).toBeInstanceOf(ConfigError);
    expect((failure as Error).message).toMatch(
      /^Train step 2: the (loss|gradient norm) is (NaN|Infinity);/,
    );
    const snapshot = await readSnapshot(folderOf(files), config);
    expect(snapshot!.trainSteps).toBe(1);
    expect(recordsOf(files).map(({ trainStep }) => trainStep)).toEqual([1]);
  });

  it('never writes weights that are not finite', async () => {
    const files: Files = new Map();
    const config: TrainConfig = {
      ...RUN_CONFIG,
      snapshotEvery: 1,
      schedule: constant,
      learningRate: 1e39,
    };
    const failure = runTiny({ folder: folderOf(files), config });
    await expect(failure).rejects.toThrow(/^Train step 1: model\.\S+ holds (NaN|-?Infinity);/);
    expect(files.has(SNAPSHOT_FILE)).toBe(false);
  });
});

describe('settings', () => {
  it.each(['trainSteps', 'accumulate', 'logEvery', 'snapshotEvery', 'evaluateEvery'])(
    'need a whole %s from 1',
    async (field) => {
      for (const value of [0, -1, 1.5, NaN]) {
        const folder = folderOf(new Map());
        const failure = runTiny({ folder, config: { ...RUN_CONFIG, [field]: value } });
        await expect(failure).rejects.toThrow(new RegExp(`^${field} is ${value};`));
      }
    },
  );

  it('need a schedule that fits and weights that fit', async () => {
    const folder = folderOf(new Map());
    const schedule = { kind: 'constant', warmupTrainSteps: trainSteps + 1 } as const;
    const config = { ...RUN_CONFIG, schedule };
    await expect(runTiny({ folder, config })).rejects.toThrow(ConfigError);
    const weights = new Map(initializeWeights(RUN_CONFIG.model, 1));
    weights.delete('model.norm.weight');
    const missing = runTiny({ folder, weights });
    await expect(missing).rejects.toThrow(/model\.norm\.weight is missing/);
    const norm = new Float32Array(RUN_CONFIG.model.hiddenSize);
    for (const wrong of [new Float32Array(7), norm.slice().fill(NaN)]) {
      weights.set('model.norm.weight', wrong);
      await expect(runTiny({ folder, weights })).rejects.toThrow(CheckpointError);
    }
    weights.set('model.norm.weight', norm).set('odd', norm);
    await expect(runTiny({ folder, weights })).rejects.toThrow(/"odd"/);
  });
});
