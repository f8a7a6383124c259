/** What a run's folder holds: the weights it has come to, finished or not. */
import { ConfigError } from 'looplm/errors';
import type { ModelWeights } from 'looplm/model';
import { loadCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { openSafetensors } from 'looplm/runtime';
import type { TrainConfig } from 'looplm/train';
import { SNAPSHOT_FILE, readSnapshot } from 'looplm/train';
import { SEED, TRAIN_STEPS, trainConfig } from './configs.js';

export interface TrainedRun {
  readonly config: TrainConfig;
  readonly weights: ModelWeights;
  readonly trainSteps: number;
}

/** @throws ConfigError if the folder has no snapshot of a run */
export async function readRun(path: string): Promise<TrainedRun> {
  const folder = nodeFolder(path);
  const config = (await folder.exists(SNAPSHOT_FILE)) ? await configOf(path) : undefined;
  const snapshot = config && (await readSnapshot(folder, config));
  if (!config || !snapshot) {
    throw new ConfigError('run', `${path} holds no snapshot of a training run; train first.`);
  }
  const { weights, trainSteps } = snapshot;
  return { config, weights, trainSteps };
}

/** The model that is shipped: the run of the recipe as it stands, to its end. */
export async function readShipped(path: string): Promise<TrainedRun> {
  const { config: model, weights } = await loadCheckpoint(nodeFolder(path));
  const config = trainConfig(model, 'looped', TRAIN_STEPS, SEED);
  return { config, weights, trainSteps: TRAIN_STEPS };
}

async function configOf(path: string): Promise<TrainConfig | undefined> {
  const source = await nodeFolder(path).open(SNAPSHOT_FILE);
  try {
    const config = (await openSafetensors(source)).metadata.get('config');
    return config === undefined ? undefined : (JSON.parse(config) as TrainConfig);
  } finally {
    await source.close();
  }
}
