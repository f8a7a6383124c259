/** A run of reinforcement learning whose rollouts other machines draw, as processes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryPath } from '../repository.js';
import { Machine, metricsOf, modelDigest } from './machine.js';

/** Rewards differ within a group, so that every update changes the weights. */
const TASK = `export default {
  name: 'sevens',
  maxDifficulty: 3,
  draw: (rng, difficulty) => ({ prompt: 'take '.repeat(difficulty) + (Math.abs(rng.next()) % 9) + ';' }),
  reward: ({ tokenIds }) => (tokenIds.reduce((sum, id) => sum + id, 0) % 7) / 6,
};
`;

export interface RLSettings {
  readonly trainSteps?: number;
  readonly staleness?: number;
  readonly maxNewTokens?: number;
}

export const RL_TRAIN_STEPS = 9;

/** What a run tells of an update. */
export interface Told {
  readonly reward: number;
  readonly meanDepth: number;
  readonly staleness?: number;
}

export class Trainer extends Machine {
  readonly #out: string;

  /** @param address - where its workers meet; without one it draws by itself */
  constructor(folder: string, name: string, settings: RLSettings = {}, address?: string) {
    const { trainSteps = RL_TRAIN_STEPS, staleness = 0, maxNewTokens = 12 } = settings;
    const [file, out] = [join(folder, `${name}.json`), join(folder, name)];
    writeFileSync(join(folder, 'task.mjs'), TASK);
    const config = {
      from: repositoryPath('models/bundled'),
      task: 'task.mjs',
      rows: 4,
      length: 8 + maxNewTokens,
      groups: 4,
      groupSize: 4,
      maxNewTokens,
      staleness,
      policy: { credit: { kind: 'depth-action' } },
      evaluation: { problems: 0 },
      training: { learningRate: 0.001, trainSteps, snapshotEvery: 4 },
    };
    writeFileSync(file, JSON.stringify(config));
    const workers = address === undefined ? [] : ['--workers', address];
    super(name, ['rl', '--config', file, '--out', out, ...workers]);
    this.#out = out;
  }

  modelDigest(): string | undefined {
    return modelDigest(this.#out);
  }

  /** By update. */
  told(): readonly Told[] {
    return metricsOf(this.#out).map((record) => (record as { readonly source: Told }).source);
  }
}

export const rolloutWorker = (name: string, address: string) =>
  new Machine(name, ['rl', '--join', address]);
