/**
 * The folder of a run: held by one process at a time, and never one that holds something else.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../../errors.js';
import type { Folder } from '../../model/index.js';
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from '../../model/index.js';
import { failRead, fileExists, nodeFolder, takeLock } from '../../platform/node/index.js';
import type { RunParts, TrainConfig } from '../../train/index.js';
import { MEMBER_FILE, METRICS_FILE, readSnapshot } from '../../train/index.js';

/** The settings of the run, for people; the snapshot has its own copy. */
const CONFIG_FILE = 'train-config.json';
export const LOSS_FILE = 'loss.svg';
export const REWARD_FILE = 'reward.svg';
/** Files of an unfinished run, which its next sitting replaces. */
const RUN_FILES: readonly string[] = [
  CONFIG_FILE,
  METRICS_FILE,
  LOSS_FILE,
  REWARD_FILE,
  MEMBER_FILE,
];
const MODEL_FILES: readonly string[] = [
  'config.json',
  'model.safetensors',
  ADAPTER_CONFIG_FILE,
  ADAPTER_WEIGHTS_FILE,
];

export interface RunFolder {
  readonly folder: Folder;
  /** Train steps of its snapshot; 0 without one. */
  readonly trainStepsDone: number;
  release(): Promise<void>;
}

/**
 * Takes the folder for a run, new or to go on with.
 *
 * @param extraFiles - names of the other files that the run will write.
 * @param parts - that the run has in place of those of its config.
 * @throws FileError if another process trains there, or the folder holds what is not of a run;
 *   ConfigError if it holds a run with other settings, which are named.
 */
export async function takeRunFolder(
  path: string,
  config: TrainConfig,
  extraFiles: readonly string[],
  parts: RunParts = {},
): Promise<RunFolder> {
  const lock = await takeLock(join(path, 'run.lock'), {
    task: `training in ${path}`,
    remedy: 'Wait for it or end it, or name another folder.',
  });
  const disk = nodeFolder(path);
  const folder: Folder = {
    ...disk,
    async write(name, content) {
      await lock.verify();
      await disk.write(name, content);
    },
  };
  try {
    const snapshot = await readSnapshot(disk, config, parts);
    if (!snapshot && !(await hasJoined(folder, config))) await checkOurs(path, extraFiles);
    await folder.write(CONFIG_FILE, settingsText(config));
    const trainStepsDone = snapshot?.trainSteps ?? 0;
    return { folder, trainStepsDone, release: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

const settingsText = (config: TrainConfig) => `${JSON.stringify(config, null, 2)}\n`;

/**
 * Whether a machine has joined a run of these settings from the folder. One that came when all was done has the model
 * there, and no snapshot. Whether it is the run that is joined now is asked there.
 */
async function hasJoined(folder: Folder, config: TrainConfig): Promise<boolean> {
  return (
    config.outer !== undefined &&
    (await folder.exists(MEMBER_FILE)) &&
    (await folder.exists(CONFIG_FILE)) &&
    (await folder.readText(CONFIG_FILE)) === settingsText(config)
  );
}

/** Without a snapshot nothing of a finished model may be there, and files of a run only all together. */
async function checkOurs(path: string, extraFiles: readonly string[]): Promise<void> {
  const isRun = await fileExists(join(path, CONFIG_FILE));
  const foreign = [...MODEL_FILES, ...extraFiles, ...(isRun ? [] : RUN_FILES)];
  const names = await readdir(path).catch((cause: unknown) => failRead(path, cause));
  const found = names.filter((name) => foreign.includes(name)).toSorted();
  if (found.length === 0) return;
  throw new FileError(
    path,
    `${path} holds ${new Intl.ListFormat('en').format(found)}, and no snapshot of a run to go on with. Name another folder.`,
  );
}
