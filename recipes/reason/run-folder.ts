/** What a run's folder holds: the weights it has come to, finished or not. */
import type { LoopLMConfig, ModelWeights } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { openSafetensors } from 'looplm/runtime';
import type { TrainConfig } from 'looplm/train';
import { SNAPSHOT_FILE, readSnapshot } from 'looplm/train';

export interface TrainedModel {
  readonly config: LoopLMConfig;
  readonly weights: ModelWeights;
  readonly trainSteps: number;
}

/** @throws FileError if the folder has no snapshot */
export async function readRun(path: string): Promise<TrainedModel> {
  const folder = nodeFolder(path);
  const source = await folder.open(SNAPSHOT_FILE);
  try {
    const { metadata } = await openSafetensors(source);
    const config = JSON.parse(metadata.get('config')!) as TrainConfig;
    const { weights, trainSteps } = (await readSnapshot(folder, config))!;
    return { config: config.model, weights, trainSteps };
  } finally {
    await source.close();
  }
}
