/**
 * The laws of rollouts on other machines, with a store in memory: who draws, how often, and what else comes
 * through the store changes nothing of what is learnt.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { MemoryStore, SharedStore } from '../../src/cluster/index.js';
import { getByDigest, memoryStore, putByDigest } from '../../src/cluster/index.js';
import { ServerError } from '../../src/errors.js';
import { memoryFolder } from '../../src/model/index.js';
import {
  RolloutSource,
  WorkerRollouts,
  drawForTrainer,
  parseRLSettings,
  policyObjective,
} from '../../src/rl/index.js';
import type { RolloutResult } from '../../src/rl/workers/messages.js';
import { JOBS, RESULTS, readJob, readResult } from '../../src/rl/workers/messages.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { MetricRecord, TrainOptions } from '../../src/train/index.js';
import { METRICS_FILE, SNAPSHOT_FILE, parseMetrics, train } from '../../src/train/index.js';
import { ECHO_BATCH, ECHO_MODEL, ECHO_TEXT, ECHO_WEIGHTS, echo, echoConfig } from './echo.js';

const [GROUPS, TRAIN_STEPS] = [3, 4];
const SETTINGS = { groups: GROUPS, groupSize: 4, maxNewTokens: 2 };

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

type Files = Map<string, Uint8Array>;

interface RunOptions {
  readonly store?: SharedStore;
  readonly staleness?: number;
  readonly files?: Files;
  readonly notes?: string[];
  readonly onProgress?: (record: MetricRecord) => void;
  readonly signal?: AbortSignal;
  /** Leaves the run in the store, as a trainer that dies does. */
  readonly isCut?: boolean;
}

/** Trains; with a store, workers draw. */
async function run(options: RunOptions = {}): Promise<Files> {
  const { store, staleness = 0, files = new Map(), notes = [], onProgress, signal } = options;
  const settings = parseRLSettings({ ...SETTINGS, staleness });
  const onNote = (line: string) => void notes.push(line);
  const rollouts = store && new WorkerRollouts({ store, staleness, onNote });
  const given: TrainOptions = {
    config: echoConfig(TRAIN_STEPS, 0),
    device,
    source: new RolloutSource({
      task: echo,
      text: ECHO_TEXT,
      settings,
      model: ECHO_MODEL,
      ...ECHO_BATCH,
      trainSteps: TRAIN_STEPS,
      rollouts,
    }),
    objective: policyObjective(settings.policy, ECHO_MODEL.numLoops),
    weights: ECHO_WEIGHTS,
    folder: memoryFolder('run', files),
    now: () => 0,
    memoryBytes: () => 0,
    ...(onProgress && { onProgress }),
    ...(signal && { signal }),
  };
  await train(given);
  if (!options.isCut) await rollouts?.finish();
  return files;
}

/** Workers that are at work; stopped after each test. */
const stopping: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stopping.splice(0)) await stop();
});

function work(store: SharedStore, onDrawn?: (trainStep: number, version: number) => void) {
  const controller = new AbortController();
  const working = drawForTrainer({
    store,
    device,
    onNote: () => {},
    signal: controller.signal,
    onGroup: ({ trainStep, version }) => onDrawn?.(trainStep, version),
  });
  const stop = async () => {
    controller.abort();
    await working;
  };
  stopping.push(stop);
  return { working, stop };
}

/** Of an undisturbed run that draws by itself. */
let known: Promise<Files> | undefined;
const undisturbed = () => (known ??= run());
const metricsOf = (files: Files) =>
  parseMetrics(new TextDecoder().decode(files.get(METRICS_FILE))).map(
    (record) => (record as MetricRecord).source!,
  );

/** What was learnt is, to the bit, what a trainer learns that draws by itself. */
async function expectSame(files: Files): Promise<void> {
  const whole = await undisturbed();
  expect(files.get(SNAPSHOT_FILE)).toEqual(whole.get(SNAPSHOT_FILE));
  const told = (of: Files) =>
    metricsOf(of).map(({ reward, worth, meanDepth, difficulty }) => {
      return { reward, worth, meanDepth, difficulty };
    });
  expect(told(files)).toEqual(told(whole));
}

const kindsOf = ({ objects }: MemoryStore) => [...objects.keys()].map((name) => name.split('-')[0]);

describe('workers', () => {
  it('draw what the trainer draws by itself, and leave with the run, and with an empty store', async () => {
    const store = memoryStore();
    const workers = [work(store), work(store)];
    let largest = 0;
    const onProgress = () => {
      largest = Math.max(largest, kindsOf(store).filter((kind) => kind === 'weights').length);
    };
    await expectSame(await run({ store, onProgress }));
    for (const { working } of workers) await working;
    expect(largest).toBe(2);
    expect([...store.objects.keys(), ...store.records.keys()]).toEqual([]);
    for (const name of [JOBS, RESULTS]) {
      expect(await (await store.queue(name)).isEmpty()).toBe(true);
    }
  });

  it('that die with a job in their hands are replaced', async () => {
    const store = memoryStore();
    const jobs = await store.queue(JOBS);
    const running = run({ store });
    const held = [await jobs.take(60), await jobs.take(60)];
    expect(held.map((job) => readJob(job!.text)!.group)).toEqual([0, 1]);
    const drawn: number[] = [];
    work(store, (trainStep) => drawn.push(trainStep));
    await expect.poll(() => drawn.length, { timeout: 60_000 }).toBe(1);
    jobs.expire();
    await expectSame(await running);
    expect(drawn).toHaveLength(GROUPS * TRAIN_STEPS);
  });

  it('that are stopped give back what they hold', async () => {
    const store = memoryStore();
    let stopped: Promise<void> | undefined;
    const first = work(store, (trainStep) => {
      if (trainStep === 1) stopped ??= first.stop();
    });
    const running = run({ store });
    await first.working;
    expect(stopped).toBeDefined();
    work(store);
    await expectSame(await running);
  });

  it('that do a job twice count once', async () => {
    const store = memoryStore();
    const twice: SharedStore = {
      ...store,
      async queue(name) {
        const queue = await store.queue(name);
        if (name !== RESULTS) return queue;
        const put = async (text: string) => {
          await queue.put(text);
          await queue.put(text);
        };
        return Object.assign(Object.create(queue) as typeof queue, { put });
      },
    };
    work(twice);
    await expectSame(await run({ store }));
  });

  it('may come and go, and so may the trainer', async () => {
    const store = memoryStore();
    const files: Files = new Map();
    work(store);
    const die = ({ trainStep }: MetricRecord) => {
      if (trainStep === 3) throw new Error('killed');
    };
    await expect(run({ store, files, onProgress: die, isCut: true })).rejects.toThrow('killed');
    await expectSame(await run({ store, files }));

    const stopped: Files = new Map();
    const controller = new AbortController();
    const abort = ({ trainStep }: MetricRecord) => void (trainStep === 1 && controller.abort());
    const { signal } = controller;
    work(store);
    await run({ store, files: stopped, onProgress: abort, signal, isCut: true });
    await expectSame(await run({ store, files: stopped }));
  });
});

/** What a worker hands in. */
interface HandedIn {
  result: RolloutResult;
  answers: { record: Record<string, unknown>; executedLoops: number }[];
}

/** A store over which the first results of a worker arrive spoilt, by number. */
function spoiling(store: SharedStore, spoil: (handedIn: HandedIn, count: number) => void) {
  let count = 0;
  const spoilt: SharedStore = {
    ...store,
    async queue(name, silenceSeconds) {
      const queue = await store.queue(name, silenceSeconds);
      if (name !== RESULTS) return queue;
      const put = async (text: string) => {
        const result = readResult(text)!;
        const bytes = (await getByDigest(store, result.answers))!;
        const handedIn: HandedIn = {
          result,
          answers: JSON.parse(new TextDecoder().decode(bytes)) as HandedIn['answers'],
        };
        spoil(handedIn, count++);
        const json = JSON.stringify(handedIn.answers);
        const answers = await putByDigest(store, 'answers-x', new TextEncoder().encode(json));
        await queue.put(JSON.stringify({ answers, ...withoutAnswers(handedIn.result, result) }));
      };
      return Object.assign(Object.create(queue) as typeof queue, { put });
    },
  };
  return spoilt;
}

/** The name of the answers is that of the spoilt ones, unless the name itself is spoilt. */
function withoutAnswers({ answers, ...rest }: RolloutResult, before: RolloutResult) {
  return answers === before.answers ? rest : { answers, ...rest };
}

describe('the trainer', () => {
  const first = ({ answers }: HandedIn) => answers[0]!.record;
  const spoilers: Readonly<Record<string, [(handedIn: HandedIn) => void, RegExp]>> = {
    'a log-probability that is no number': [
      (given) => (first(given)['logprobs'] = [NaN, NaN]),
      /logprobs/,
    ],
    'a list that is too long': [
      (given) => (first(given)['exitDepths'] = [1, 1, 1, 1]),
      /exitDepths/,
    ],
    'an answer to another prompt': [(given) => (first(given)['promptIds'] = [3]), /another prompt/],
    'an answer of another seed': [(given) => (first(given)['seed'] = 7), /has the seed 7/],
    'an answer too few': [(given) => given.answers.pop(), /there are 3 in place of 4/],
    'no answers at all': [(given) => (given.answers = 7 as never), /cannot be read/],
    'answers that are not there': [
      (given) => (given.result = { ...given.result, answers: 'answers-x-y' }),
      /not in the store/,
    ],
    'weights that nobody knows': [
      (given) => (given.result = { ...given.result, version: 77 }),
      /weights that are unknown, version 77/,
    ],
    'a version that is not the record’s': [
      (given) => (first(given)['weightsVersion'] = 77),
      /weights of version 77/,
    ],
  };

  it('refuses what was not asked for, has it drawn again, and learns the same', async () => {
    const store = memoryStore();
    const notes: string[] = [];
    const all = Object.values(spoilers);
    // every second result arrives spoilt
    const spoilt = spoiling(store, (handedIn, count) => {
      if (count % 2 === 1) all[(count - 1) / 2]?.[0](handedIn);
    });
    work(spoilt);
    await expectSame(await run({ store, notes }));
    for (const [name, [, message]] of Object.entries(spoilers)) {
      expect(
        notes.some((note) => message.test(note)),
        name,
      ).toBe(true);
    }
    expect(notes).toHaveLength(all.length);
    expect(notes.every((note) => note.endsWith('; it is drawn again'))).toBe(true);
  });

  it('refuses what older weights drew than may', async () => {
    const store = memoryStore();
    const notes: string[] = [];
    const names = new Map<number, string>();
    let isDone = false;
    const late = spoiling(store, (handedIn) => {
      const { version, weights: object } = handedIn.result;
      names.set(version, object);
      if (version !== 2 || isDone) return;
      isDone = true;
      handedIn.result = { ...handedIn.result, version: 1, weights: names.get(1)! };
      for (const { record } of handedIn.answers) record['weightsVersion'] = 1;
    });
    work(late);
    await expectSame(await run({ store, notes }));
    expect(notes).toEqual([
      'group 0 of train step 3 is refused: its weights are 1 updates old; it is drawn again',
    ]);
  });

  it('ends when a group is refused again and again', async () => {
    const store = memoryStore();
    work(spoiling(store, (given) => given.answers.pop()));
    const running = run({ store, isCut: true });
    await expect(running).rejects.toThrow(ServerError);
    await expect(running).rejects.toThrow(/in place of 4; that was the 4th time\. See that all/);
  });

  it('ends when another one takes over its workers, which then has them', async () => {
    const store = memoryStore();
    let second: Promise<Files> | undefined;
    const firstRun = run({
      store,
      isCut: true,
      onProgress: () => void (second ??= run({ store })),
    });
    work(store);
    await expect(firstRun).rejects.toThrow(/Another trainer has taken over memory/);
    await expectSame(await second!);
  });
});

describe('staleness', () => {
  it('is bounded, told, and needs workers and a ratio that corrects for it', async () => {
    const store = memoryStore();
    const drawn: number[] = [];
    work(store, (trainStep, version) => drawn.push(trainStep - version));
    const told = metricsOf(await run({ store, staleness: 2 }));
    expect(drawn).toHaveLength(GROUPS * TRAIN_STEPS);
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...drawn)).toBeLessThanOrEqual(2);
    const sum = drawn.reduce((total, value) => total + value, 0);
    const means = told.map(({ staleness }) => Number(staleness));
    expect(means.reduce((total, value) => total + value, 0) * GROUPS).toBeCloseTo(sum, 9);

    const source = (settings: object, rollouts?: WorkerRollouts) => () =>
      new RolloutSource({
        task: echo,
        text: { encode: () => [1], tokenizer: undefined, stopIds: [] },
        settings: parseRLSettings({ staleness: 2, ...settings }),
        model: ECHO_MODEL,
        rows: 1,
        length: 12,
        seed: 1,
        rollouts,
      });
    expect(source({})).toThrow(/staleness is 2, and nobody draws while the trainer learns/);
    const rollouts = new WorkerRollouts({ store, staleness: 2, onNote: () => {} });
    const none = source({ policy: { ratio: { kind: 'none' } } }, rollouts);
    expect(none).toThrow(/ratio "none" corrects nothing that other weights drew/);
  });
});
