/** What happens to machines that draw the rollouts of a run, and to its trainer. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Machine } from './machine.js';
import type { RLSettings } from './rl-machines.js';
import { RL_TRAIN_STEPS, Trainer, rolloutWorker } from './rl-machines.js';
import type { Scenario, Scene } from './scene.js';
import { between } from './scene.js';

const ADDRESS = 'rollouts';
const trainerOf = ({ folder, server }: Scene, settings: RLSettings = {}) =>
  new Trainer(folder, 'trainer', settings, server.run(ADDRESS));
const workerOf = ({ server }: Scene, name: string) => rolloutWorker(name, server.run(ADDRESS));

/** All must have ended well: the workers by themselves, when the run is over. */
async function checkEnded(scene: Scene, machines: readonly Machine[]): Promise<void> {
  for (const machine of machines) {
    const code = await machine.ended;
    if (code !== 0) scene.faults.push(`a machine ended with ${code}: ${machine.output()}`);
  }
}

const known = new Map<string, Promise<{ digest: string | undefined; rewards: string }>>();
const rewardsOf = (trainer: Trainer) =>
  JSON.stringify(trainer.told().map(({ reward, meanDepth }) => [reward, meanDepth]));

/** What a trainer comes to that draws by itself. */
function alone(scene: Scene, settings: RLSettings) {
  const key = JSON.stringify(settings);
  const found = known.get(key) ?? playAlone(scene, settings);
  known.set(key, found);
  return found;
}

async function playAlone({ folder }: Scene, settings: RLSettings) {
  await using trainer = new Trainer(folder, 'alone', settings);
  if ((await trainer.ended) !== 0) throw new Error(trainer.output());
  return { digest: trainer.modelDigest(), rewards: rewardsOf(trainer) };
}

/** The run must end in the bytes of one whose trainer draws by itself. */
async function checkAlone(
  scene: Scene,
  trainer: Trainer,
  workers: readonly Machine[],
  settings: RLSettings = {},
): Promise<void> {
  await checkEnded(scene, [trainer, ...workers]);
  const { digest, rewards } = await alone(scene, settings);
  const own = trainer.modelDigest();
  if (own !== digest) scene.faults.push(`ended in ${own}, alone in ${digest}`);
  if (rewardsOf(trainer) !== rewards) scene.faults.push(`${rewardsOf(trainer)}, not ${rewards}`);
}

/** The one that is short enough to be played every time. */
export const SHORT_RL_SCENARIO = 'rollouts: the trainer is killed, and comes back';

export const RL_SCENARIOS: Readonly<Record<string, Scenario>> = {
  async [SHORT_RL_SCENARIO](scene) {
    const settings = { trainSteps: 5 };
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    await using trainer = trainerOf(scene, settings);
    await trainer.reaches(between(scene, 1, 3));
    await sleep(between(scene, 0, 100));
    await trainer.kill();
    trainer.restart();
    await checkAlone(scene, trainer, [a, b], settings);
  },

  async 'rollouts: a worker is killed with jobs in its hands, and another does them'(scene) {
    const settings = { maxNewTokens: 200, trainSteps: 4 };
    await using trainer = trainerOf(scene, settings);
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    await a.says(/drawing for train step [23]/);
    await a.kill();
    await trainer.says(/waiting for [12] groups/); // what it held comes back after its silence
    await checkAlone(scene, trainer, [b], settings);
  },

  async 'rollouts: workers are killed and come back, one comes late, one gets Ctrl-C'(scene) {
    await using trainer = trainerOf(scene);
    await using a = workerOf(scene, 'a');
    await trainer.reaches(2);
    await using b = workerOf(scene, 'b');
    await b.says(/drawing/);
    await a.kill();
    a.restart();
    await trainer.reaches(between(scene, 4, 5));
    await using c = workerOf(scene, 'c');
    await c.says(/drawing/);
    a.signal('SIGINT');
    if ((await a.ended) !== 130) scene.faults.push(`Ctrl-C ended it with ${await a.ended}`);
    await checkAlone(scene, trainer, [b, c]);
  },

  async 'rollouts: the server is killed, twice'(scene) {
    await using trainer = trainerOf(scene);
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    for (const after of [2, 5]) {
      await trainer.reaches(after);
      await sleep(between(scene, 0, 200));
      await scene.server.kill();
      await sleep(2000);
      await scene.server.start();
    }
    await checkAlone(scene, trainer, [a, b]);
    if (!/NATS server/.test(trainer.output() + a.output())) {
      scene.faults.push('nobody said that it waited');
    }
  },

  async 'rollouts: the trainer gets Ctrl-C, and all are killed, and come back'(scene) {
    await using trainer = trainerOf(scene);
    await using a = workerOf(scene, 'a');
    await trainer.reaches(between(scene, 1, 3));
    trainer.signal('SIGINT');
    if ((await trainer.ended) !== 130) scene.faults.push(`ended with ${await trainer.ended}`);
    trainer.restart();
    await trainer.reaches(between(scene, 5, 7));
    await Promise.all([trainer.kill(), a.kill(), scene.server.kill()]);
    await scene.server.start();
    trainer.restart();
    a.restart();
    await checkAlone(scene, trainer, [a]);
  },

  async 'rollouts: ahead of the trainer, up to the bound, with deaths'(scene) {
    const staleness = 2;
    await using trainer = trainerOf(scene, { staleness });
    await using a = workerOf(scene, 'a');
    await using b = workerOf(scene, 'b');
    await trainer.reaches(3);
    await Promise.all([trainer.kill(), b.kill()]);
    trainer.restart();
    b.restart();
    await checkEnded(scene, [trainer, a, b]);
    const means = trainer.told().map((told) => told.staleness ?? NaN);
    scene.say(`  staleness ${means.map((mean) => mean.toFixed(2)).join(' ')}`);
    if (means.length !== RL_TRAIN_STEPS) scene.faults.push(`${means.length} updates`);
    if (!means.every((mean) => mean >= 0 && mean <= staleness)) {
      scene.faults.push('older than the bound');
    }
    if (!means.some((mean) => mean > 0)) scene.faults.push('nobody drew ahead');
  },
};
