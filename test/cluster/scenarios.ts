/**
 * What happens to machines that work together, played with real processes and a real server. Each scenario
 * gives what went wrong, a line each; those of reinforcement learning are in rl-scenarios.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SharedStore } from '../../src/cluster/index.js';
import { putByDigest } from '../../src/cluster/index.js';
import { connectRun } from '../../src/platform/node/index.js';
import { encodeSafetensors } from '../../src/util/safetensors.js';
import { until } from '../programs.js';
import { cutNamespace } from './cut-namespace.js';
import { NatsServer } from './nats-server.js';
import { RL_SCENARIOS } from './rl-scenarios.js';
import type { Scenario, Scene, SceneOptions } from './scene.js';
import { between } from './scene.js';
import { Worker, writeData } from './worker.js';

/** Seconds after which a machine is given up. */
const QUICK = 3;
/** So long that nobody is given up who comes back. */
const PATIENT = 120;

const TRAIN_STEPS = 120;
const EVERY = 20;

const configOf = (outer: object = {}, trainSteps = TRAIN_STEPS) => ({
  data: { path: 'data.jsonl', rows: 4, length: 24 },
  model: { hidden_size: 64, num_hidden_layers: 2, total_ut_steps: 2, vocab_size: 32 },
  trainSteps,
  learningRate: 0.003,
  logEvery: 1,
  snapshotEvery: 7,
  validation: { fraction: 0.1, evaluateEvery: trainSteps },
  outer: { everyTrainSteps: EVERY, startWith: 2, silence: PATIENT, snapshotEvery: 2, ...outer },
});

/** What nothing has been learnt of costs: the logarithm of the number of tokens. */
const START_LOSS = Math.log(31);
/** Part of what undisturbed machines learn that those must learn that have lost some rounds. */
const LEAST_LEARNT = 0.9;

const workerOf = (scene: Scene, name: string, outer: object = {}, address?: string) =>
  new Worker({
    folder: scene.folder,
    name,
    config: configOf(outer),
    address: address ?? scene.server.run('run'),
  });

/** All must have ended well, in the same model. */
async function checkSame(scene: Scene, workers: readonly Worker[]): Promise<void> {
  for (const worker of workers) {
    const code = await worker.ended;
    if (code !== 0) scene.faults.push(`a worker ended with ${code}: ${worker.output()}`);
  }
  const digests = new Set(workers.map((worker) => worker.modelDigest()));
  if (digests.size !== 1) scene.faults.push(`${digests.size} different models`);
}

/** And that model must be nearly as good as one of machines that nothing happened to. */
async function checkEnds(scene: Scene, workers: readonly Worker[]): Promise<void> {
  await checkSame(scene, workers);
  const loss = workers[0]!.finalLoss();
  scene.say(`  loss ${loss.toFixed(3)}`);
  const learnt = START_LOSS - (await undisturbed(scene)).loss;
  const allowed = START_LOSS - LEAST_LEARNT * learnt;
  if (!(loss <= allowed)) scene.faults.push(`a loss of ${loss}, above ${allowed}`);
}

/** The model must be that of machines that nothing happened to. */
async function checkUndisturbed(scene: Scene, workers: readonly Worker[]): Promise<void> {
  await checkEnds(scene, workers);
  const { digest } = await undisturbed(scene);
  const own = workers[0]!.modelDigest();
  if (own !== digest) scene.faults.push(`ended in ${own}, undisturbed in ${digest}`);
}

let known: Promise<{ readonly loss: number; readonly digest: string | undefined }> | undefined;

/** What two machines come to that nothing happens to. */
function undisturbed(scene: Scene) {
  known ??= (async () => {
    const address = scene.server.run('undisturbed');
    await using a = workerOf(scene, 'undisturbed-a', {}, address);
    await using b = workerOf(scene, 'undisturbed-b', {}, address);
    const codes = [await a.ended, await b.ended];
    if (codes.some((code) => code !== 0)) throw new Error(`${a.output()}${b.output()}`);
    return { loss: a.finalLoss(), digest: a.modelDigest() };
  })();
  return known;
}

/** The one that is short enough to be played every time. */
export const SHORT_SCENARIO = 'the server and a worker are killed, and come back';

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  async [SHORT_SCENARIO](scene) {
    const { folder, server } = scene;
    const both = { folder, config: configOf({}, 60), address: server.run('run') };
    await using a = new Worker({ ...both, name: 'a' });
    await using b = new Worker({ ...both, name: 'b' });
    await b.reaches(between(scene, 15, 45));
    await Promise.all([server.kill(), b.kill()]);
    await scene.server.start();
    b.restart();
    await checkSame(scene, [a, b]);
  },

  async 'a worker is killed and comes back in time, three times'(scene) {
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    for (const after of [1, 2, 3]) {
      await b.reaches(after * 30 + between(scene, 0, 8));
      await sleep(between(scene, 0, 100));
      await b.kill();
      b.restart();
    }
    await checkUndisturbed(scene, [a, b]);
  },

  async 'all workers are killed, and come back'(scene) {
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    await a.reaches(between(scene, 25, 100));
    await Promise.all([a.kill(), b.kill()]);
    a.restart();
    b.restart();
    await checkUndisturbed(scene, [a, b]);
  },

  async 'a worker is killed for good'(scene) {
    const outer = { startWith: 3, silence: QUICK };
    await using a = workerOf(scene, 'a', outer);
    await using b = workerOf(scene, 'b', outer);
    await using c = workerOf(scene, 'c', outer);
    await c.reaches(between(scene, 25, 100));
    await c.kill();
    await checkEnds(scene, [a, b]);
  },

  async 'a worker is killed, and comes back too late'(scene) {
    const outer = { silence: QUICK };
    await using a = workerOf(scene, 'a', outer);
    await using b = workerOf(scene, 'b', outer);
    await b.reaches(between(scene, 25, 45));
    await b.kill();
    await a.says(/1 of 2 machines count/);
    b.restart();
    await checkEnds(scene, [a, b]);
  },

  async 'the server is killed, twice'(scene) {
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    for (const after of [25, 75]) {
      await a.reaches(after + between(scene, 0, 20));
      await scene.server.kill();
      await sleep(2000);
      await scene.server.start();
    }
    await checkUndisturbed(scene, [a, b]);
    if (!/NATS server/.test(a.output())) scene.faults.push('nobody said that it waited');
  },

  async 'a worker stands still'(scene) {
    const outer = { silence: QUICK };
    await using a = workerOf(scene, 'a', outer);
    await using b = workerOf(scene, 'b', outer);
    await b.reaches(between(scene, 25, 45));
    b.signal('SIGSTOP');
    await a.says(/1 of 2 machines count/);
    await sleep(1000);
    b.signal('SIGCONT');
    await checkEnds(scene, [a, b]);
  },

  async 'a worker comes late'(scene) {
    await using a = workerOf(scene, 'a', { startWith: 1 });
    await a.reaches(45);
    await using b = workerOf(scene, 'b', { startWith: 1 });
    await checkEnds(scene, [a, b]);
    if (!/2 of 2 machines count/.test(b.output())) scene.faults.push('it never counted');
  },

  async 'a worker gets Ctrl-C, and comes back'(scene) {
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    await b.reaches(between(scene, 25, 45));
    b.signal('SIGINT');
    if ((await b.ended) !== 130) scene.faults.push(`Ctrl-C ended it with ${await b.ended}`);
    await a.says(/1 of 2 machines count/); // without waiting for 120 seconds
    b.restart();
    await checkEnds(scene, [a, b]);
  },

  async 'deltas of 8 bits, a worker is killed and comes back in time'(scene) {
    const outer = { deltas: 'int8' };
    const address = scene.server.run('whole');
    await using wholeA = workerOf(scene, 'whole-a', outer, address);
    await using wholeB = workerOf(scene, 'whole-b', outer, address);
    await checkEnds(scene, [wholeA, wholeB]);
    await using a = workerOf(scene, 'a', outer);
    await using b = workerOf(scene, 'b', outer);
    await b.reaches(between(scene, 25, 100));
    await b.kill();
    b.restart();
    await checkEnds(scene, [a, b]);
    if (a.modelDigest() !== wholeA.modelDigest()) scene.faults.push('not as undisturbed');
  },

  async 'a worker hands in what is not finite, and what has another shape'(scene) {
    const outer = { startWith: 3, silence: QUICK };
    await using a = workerOf(scene, 'a', outer);
    await using b = workerOf(scene, 'b', outer);
    const env = {};
    const store = await connectRun(scene.server.run('run'), { env, onNote: () => {} });
    try {
      await join(store, 'stranger');
      await handIn(store, 1, 'stranger', NaN);
      await handIn(store, 2, 'stranger', undefined);
      await a.says(/stranger-?\w* does not: The delta holds NaN/);
      await a.says(/stranger-?\w* does not: The delta lacks/);
    } finally {
      await store.close();
    }
    await checkEnds(scene, [a, b]);
  },

  async 'the network of a worker is cut'(scene) {
    const network = cutNamespace();
    if (typeof network === 'string') return scene.say(`  skipped: ${network}`);
    try {
      const { folder } = scene;
      const { host, near, far } = network;
      await using server = await NatsServer.start({ folder, host, inside: near });
      const config = configOf({ silence: QUICK });
      const both = { folder, config, address: server.run('run') };
      await using a = new Worker({ ...both, name: 'a', inside: near });
      await using b = new Worker({ ...both, name: 'b', inside: far });
      await b.reaches(between(scene, 25, 45));
      network.cut();
      await a.says(/1 of 2 machines count/);
      await sleep(2000);
      network.mend();
      await checkEnds(scene, [a, b]);
    } finally {
      network.remove();
    }
  },

  ...RL_SCENARIOS,
};

interface RoundRecord {
  readonly members: readonly string[];
  readonly joining: readonly string[];
  readonly results: Readonly<Record<string, unknown>>;
  readonly closed?: object;
}

const roundKey = (number: number) => `round.${String(number).padStart(8, '0')}`;

/** Changes an open round as a worker would. */
async function changeRound(
  store: SharedStore,
  number: number,
  change: (round: RoundRecord) => RoundRecord | undefined,
): Promise<void> {
  await until(
    `round ${number}`,
    async () => {
      const found = await store.read(roundKey(number));
      if (!found) return undefined;
      const changed = change(JSON.parse(found.text) as RoundRecord);
      if (!changed) return undefined;
      return (
        (await store.write(roundKey(number), JSON.stringify(changed), found.revision)) || undefined
      );
    },
    60_000,
  );
}

const join = (store: SharedStore, id: string) =>
  changeRound(store, 0, (round) => ({ ...round, joining: [...round.joining, id] }));

/** Hands in a delta that no worker would make. @param value - in a tensor of a wrong shape if undefined */
async function handIn(
  store: SharedStore,
  number: number,
  id: string,
  value: number | undefined,
): Promise<void> {
  const honest = await until(
    `a delta of round ${number}`,
    async () => {
      const found = await store.read(roundKey(number));
      const { results = {} } = found ? (JSON.parse(found.text) as RoundRecord) : {};
      const [other] = Object.values(results) as { readonly delta?: string }[];
      return other?.delta === undefined ? undefined : store.getObject(other.delta);
    },
    60_000,
  );
  const bytes =
    value === undefined
      ? encodeSafetensors([{ name: 'w', dtype: 'F32', shape: [1], data: Float32Array.of(1) }], {
          format: 'f32',
        })
      : honest.slice();
  if (value !== undefined) new DataView(bytes.buffer).setFloat32(bytes.length - 4, value, true);
  const delta = await putByDigest(store, `delta-${roundKey(number).slice(6)}`, bytes);
  await changeRound(store, number, (round) => ({
    ...round,
    results: { ...round.results, [id]: { delta, loss: 1, seconds: 1 } },
  }));
}

/** Plays a scenario; gives what went wrong. */
export async function playScenario(
  name: string,
  options: SceneOptions,
): Promise<readonly string[]> {
  writeData(options.folder);
  await using server = await NatsServer.start({ folder: options.folder });
  const faults: string[] = [];
  await SCENARIOS[name]!({ ...options, server, faults });
  return faults;
}
