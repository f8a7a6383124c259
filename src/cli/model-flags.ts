/**
 * The flags that choose a model and where it computes, shared by the commands that load one.
 */
import { type Command, Option } from 'commander';
import type { LoopLM } from '../loop-lm.js';
import { bundledModelPath, loadModel } from '../platform/node/index.js';
import type { CliIo } from './io.js';
import { parseWhole } from './parse-flags.js';

export interface ModelFlags {
  readonly model?: string;
  readonly threads?: number;
  readonly device: 'cpu' | 'webgpu';
}

/** Adds `--model`, `--threads` and `--device`. */
export function addModelFlags(command: Command): Command {
  return command
    .option('--model <folder>', 'model folder; the bundled model if left out')
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseWhole)
    .addOption(
      new Option('--device <kind>', 'what computes').choices(['cpu', 'webgpu']).default('cpu'),
    );
}

/** The folder that the flags name. */
export function modelPath({ model }: Pick<ModelFlags, 'model'>): string {
  return model ?? bundledModelPath();
}

/** Loads the model of the flags, runs the task with it and disposes it. */
export async function withModel<T>(
  flags: ModelFlags,
  io: CliIo,
  task: (model: LoopLM) => Promise<T>,
): Promise<T> {
  const model = await loadModel(modelPath(flags), {
    device: flags.device,
    ...(flags.threads !== undefined && { numThreads: flags.threads }),
  });
  try {
    noteIgnoredKeys(model.ignoredKeys, io);
    return await task(model);
  } finally {
    await model.dispose();
  }
}

/** Says on stderr which keys of config.json looplm did not use. */
export function noteIgnoredKeys(ignoredKeys: readonly string[], io: CliIo): void {
  if (ignoredKeys.length === 0) return;
  io.stderr.write(
    `note: config.json has keys that looplm does not use: ${ignoredKeys.join(', ')}\n`,
  );
}
