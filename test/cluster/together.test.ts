/** The laws of training together, with a store in memory: no server, no network. */
import { describe, expect, it } from 'vitest';
import type { SharedStore } from '../../src/cluster/index.js';
import { memoryStore } from '../../src/cluster/index.js';
import { ConfigError } from '../../src/errors.js';
import { initializeWeights, memoryFolder } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { OuterSettings, TrainConfig, TrainResult } from '../../src/train/index.js';
import { DEFAULT_OUTER, trainTogether } from '../../src/train/index.js';
import type { RoundResult } from '../../src/train/parallel/rounds.js';
import type { Files } from '../train/run-files.js';
import { RUN_CONFIG, STAGED_CONFIG, runStaged, runTiny, sourceOf } from '../train/tiny-run.js';

const OUTER: OuterSettings = { ...DEFAULT_OUTER, everyTrainSteps: 3, silence: 1 };
/** The outer optimizer does nothing: each round ends where its machine has ended. */
const PLAIN: OuterSettings = { ...OUTER, learningRate: 1, momentum: 0 };

interface WorkerOptions {
  readonly config: TrainConfig;
  readonly files?: Files;
  readonly machine?: string;
  readonly signal?: AbortSignal;
  readonly onTrainStep?: (trainStep: number) => void;
  readonly notes?: string[];
  /** Changes what the device does. */
  readonly spoil?: (device: Device) => void;
}

async function work(store: SharedStore, options: WorkerOptions): Promise<TrainResult> {
  const { config, files = new Map(), machine = 'm', signal, onTrainStep, notes, spoil } = options;
  const device = await createInlineDevice({ numThreads: 1 });
  spoil?.(device);
  try {
    return await trainTogether({
      config,
      device,
      store,
      machine,
      source: sourceOf,
      weights: initializeWeights(config.model, 1),
      folder: memoryFolder(machine, files),
      now: () => performance.now(),
      memoryBytes: () => 0,
      onNote: (line) => notes?.push(line),
      onProgress: ({ trainStep }) => onTrainStep?.(trainStep),
      ...(signal && { signal }),
    });
  } finally {
    await device.dispose();
  }
}

/** A store, and what is handed in through it, in the order of rounds. */
function watched(store: SharedStore) {
  const handedIn = new Map<string, RoundResult>();
  const write: SharedStore['write'] = async (key, text, revision) => {
    const isWritten = await store.write(key, text, revision);
    const { results = {} } = JSON.parse(text) as { readonly results?: Record<string, RoundResult> };
    const [result] = Object.values(results);
    if (isWritten && result) handedIn.set(key, result);
    return isWritten;
  };
  return { store: { ...store, write }, handedIn };
}

/** A result but for how long it took. */
const timeless = (result: RoundResult) => ({ ...result, seconds: undefined });

const bytesOf = ({ weights }: TrainResult) =>
  Buffer.concat([...weights.values()].map((values) => Buffer.from(values.buffer)));

const plain = async (run: typeof runTiny) => run({ folder: memoryFolder('plain', new Map()) });

describe('one machine, outer rate 1, no outer momentum', () => {
  it('ends in the bits of plain training', async () => {
    const config = { ...RUN_CONFIG, outer: PLAIN };
    const together = await work(memoryStore(), { config });
    expect(together.finished).toBe(true);
    expect(bytesOf(together).equals(bytesOf(await plain(runTiny)))).toBe(true);
  });

  it('does so over stages with loops, ramps, more layers and kept moments', async () => {
    // Averages of weights are refused, and have a run of their own elsewhere.
    const stages = STAGED_CONFIG.stages!.map((stage) =>
      stage.optimizer
        ? { ...stage, optimizer: { ...stage.optimizer, averageDecay: undefined } }
        : stage,
    );
    const config = { ...STAGED_CONFIG, stages };
    const alone = await runStaged({ config, folder: memoryFolder('plain', new Map()) });
    const together = await work(memoryStore(), { config: { ...config, outer: PLAIN } });
    expect(bytesOf(together).equals(bytesOf(alone))).toBe(true);
  });
});

describe('two machines', () => {
  const config = { ...RUN_CONFIG, outer: { ...OUTER, startWith: 2 } };
  const both = (store: SharedStore, more: Partial<WorkerOptions> = {}) =>
    Promise.all([
      work(store, { config, machine: 'a', ...more }),
      work(store, { config, machine: 'b', ...more }),
    ]);

  it('end in the same bits, other than those of one', async () => {
    const [a, b] = await both(memoryStore());
    expect(a.finished && b.finished).toBe(true);
    expect(bytesOf(a).equals(bytesOf(b))).toBe(true);
    const one = await work(memoryStore(), { config: { ...config, outer: OUTER } });
    expect(bytesOf(one).equals(bytesOf(a))).toBe(false);
  });

  it.each(['f32', 'int8'] as const)(
    'stopped in the middle of a round, and resumed, end in the bits of some that were not (%s)',
    async (deltas) => {
      const settings = { ...config, outer: { ...config.outer, deltas } };
      const [whole] = await both(memoryStore(), { config: settings });
      const store = memoryStore();
      const files = { a: new Map(), b: new Map() } as const;
      const stopAt = (machine: 'a' | 'b', at: number) => {
        const controller = new AbortController();
        return work(store, {
          config: settings,
          machine,
          files: files[machine],
          signal: controller.signal,
          onTrainStep: (trainStep) => trainStep === at && controller.abort(new Error('stop')),
        });
      };
      const stopped = await Promise.all([stopAt('a', 5), stopAt('b', 4)]);
      expect(stopped.map(({ finished }) => finished)).toEqual([false, false]);
      const resumed = await Promise.all([stopAt('a', Infinity), stopAt('b', Infinity)]);
      for (const result of resumed) {
        expect(result.finished).toBe(true);
        expect(bytesOf(result).equals(bytesOf(whole))).toBe(true);
      }
    },
  );

  it('go on without the round of one whose loss is not a number, and end in the same bits', async () => {
    const store = memoryStore();
    const notes: string[] = [];
    let updates = 0;
    const failing = (device: Device) => {
      const submit = device.submit.bind(device);
      device.submit = async (commands) => {
        const results = await submit(commands);
        const isUpdate = results.some((result) => result['loss']);
        if (!isUpdate || ++updates !== 5) return results;
        const loss = { dtype: 'f32', dims: [1], data: Float32Array.of(NaN) } as const;
        return results.map((result) => (result['loss'] ? { ...result, loss } : result));
      };
    };
    const settings = { ...config, spikes: { window: 8, deviations: 50, maxRollbacks: 1 } };
    const [a, b] = await Promise.all([
      work(store, { config: settings, machine: 'a', notes }),
      work(store, { config: settings, machine: 'b', spoil: failing }),
    ]);
    expect(bytesOf(a).equals(bytesOf(b))).toBe(true);
    expect(notes.map((line) => line.slice(0, 32))).toEqual([
      'round 1: 2 of 2 machines count, ',
      'round 2: 1 of 2 machines count, ',
      'round 3: 2 of 2 machines count, ',
      'round 4: 2 of 2 machines count, ',
    ]);
  });

  it('leave in the store the last snapshot and what came after it', async () => {
    const store = memoryStore();
    await both(store, { config: { ...config, outer: { ...config.outer, snapshotEvery: 1 } } });
    // Four rounds, of which the last one ends the run.
    expect([...store.objects.keys()].map((name) => name.replace(/-[0-9a-f]{64}$/, ''))).toEqual([
      'state-00000005',
    ]);
    const rounds = [...store.records.keys()].filter((key) => key.startsWith('round.'));
    expect(rounds).toEqual(['round.00000004']);
  });
});

describe('a machine', () => {
  const config = { ...RUN_CONFIG, outer: PLAIN };

  it('that comes when all is done takes the model and trains nothing', async () => {
    const store = memoryStore();
    const first = await work(store, { config });
    const trained: number[] = [];
    const onTrainStep = (trainStep: number) => trained.push(trainStep);
    const second = await work(store, { config, machine: 'late', onTrainStep });
    expect(trained).toEqual([]);
    expect(bytesOf(second).equals(bytesOf(first))).toBe(true);
  });

  // The second round has train steps 4 to 6.
  const sittings = [
    ['stopped in the middle of a round', 5],
    ['killed before the store has its delta', 6],
    ['killed when the store has its delta', 6],
    ['killed before it hands in', 6],
    ['killed in the first train step of a round', 3],
  ] as const;
  const undisturbed = async (deltas: OuterSettings['deltas']) => {
    const { store, handedIn } = watched(memoryStore());
    const whole = await work(store, { config: { ...config, outer: { ...PLAIN, deltas } } });
    return { whole, results: [...handedIn.values()].map(timeless) };
  };
  const known = new Map<string, ReturnType<typeof undisturbed>>();
  const eachSitting = sittings.flatMap(([what, at]) =>
    (['f32', 'int8'] as const).map((deltas) => [what, deltas, at] as const),
  );
  it.each(eachSitting)(
    '%s does no train step again, and hands in what it would have (%s)',
    async (what, deltas, at) => {
      const settings = { ...config, outer: { ...PLAIN, deltas } };
      if (!known.has(deltas)) known.set(deltas, undisturbed(deltas));
      const { whole, results } = await known.get(deltas)!;

      const { store, handedIn } = watched(memoryStore());
      const controller = new AbortController();
      const files: Files = new Map();
      let left = files;
      const kill = () => {
        left = new Map(files); // nothing comes afterwards
        throw new Error('killed');
      };
      let numDeltas = 0;
      const putObject: SharedStore['putObject'] = async (name, bytes) => {
        if (name.startsWith('delta')) numDeltas++;
        if (numDeltas === 2 && what.includes('before the store')) kill();
        await store.putObject(name, bytes);
        if (numDeltas === 2 && what.includes('when the store')) kill();
      };
      const write: SharedStore['write'] = async (...record) => {
        if (numDeltas === 2 && what.includes('hands in')) kill();
        return store.write(...record);
      };
      const times: number[] = [];
      const onTrainStep = (trainStep: number) => {
        times[trainStep] = performance.now();
        if (at === 3 && trainStep === 4) kill();
        if (at === 5 && trainStep === at) controller.abort(new Error('stopped'));
      };
      const sitting = work(
        { ...store, putObject, write },
        { config: settings, files, onTrainStep, signal: controller.signal },
      );
      if (at === 5) await sitting;
      else await expect(sitting).rejects.toThrow('killed');

      const trained: number[] = [];
      const again = await work(store, {
        config: settings,
        files: left,
        onTrainStep: (trainStep) => trained.push(trainStep),
      });
      expect(trained[0]).toBe(at + 1);
      expect(bytesOf(again).equals(bytesOf(whole))).toBe(true);
      expect([...handedIn.values()].map(timeless)).toEqual(results);
      const second = [...handedIn.values()][1]!;
      expect('seconds' in second && second.seconds).toBeGreaterThan(
        (times[at]! - times[4]!) / 1000,
      );
    },
  );

  it('that lost its folder begins again at the round that it was in', async () => {
    const store = memoryStore();
    const controller = new AbortController();
    const onTrainStep = (trainStep: number) =>
      trainStep === 8 && controller.abort(new Error('stop'));
    await work(store, { config, onTrainStep, signal: controller.signal });
    const trained: number[] = [];
    const again = await work(store, { config, onTrainStep: (at) => trained.push(at) });
    expect(again.finished).toBe(true);
    // The third round, which nobody has ended.
    expect(trained[0]).toBe(7);
  });

  it('with other settings is refused, and they are named', async () => {
    const store = memoryStore('HOST/run');
    await work(store, { config });
    const other = { ...config, learningRate: 0.5, outer: { ...PLAIN, everyTrainSteps: 4 } };
    const refused = work(store, { config: other, machine: 'other' });
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(work(store, { config: other, machine: 'other' })).rejects.toThrow(
      /^HOST\/run is a run with other settings: learningRate was 0.01 and is 0.5, outer.everyTrainSteps was 3 and is 4\./,
    );
  });

  it('with the folder of another run is refused', async () => {
    const files: Files = new Map();
    await work(memoryStore(), { config, files });
    const refused = work(memoryStore('HOST/next'), { config, files });
    await expect(refused).rejects.toThrow(/^m is of another run than HOST\/next holds now\./);
  });

  it('finds out if something was removed from the store', async () => {
    const store = memoryStore('HOST/run');
    await work(store, { config });
    for (const name of store.objects.keys()) {
      if (name.startsWith('state')) store.objects.delete(name);
    }
    const late = work(store, { config, machine: 'late' });
    await expect(late).rejects.toThrow(/^HOST\/run lacks its snapshot state-/);
  });

  it('that averages its weights is refused', async () => {
    const optimizer = { ...RUN_CONFIG.optimizer, averageDecay: 0.9 };
    const refused = work(memoryStore(), { config: { ...config, optimizer } });
    await expect(refused).rejects.toThrow(/^averageDecay is 0.9 in stage 1; .* Leave it out\.$/);
  });
});
