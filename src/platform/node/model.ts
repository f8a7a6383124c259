/**
 * Loads a model from a directory, computing in a worker thread that belongs to it.
 *
 * Knows where the package keeps the model that comes with it, and nothing else about models.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { LoopLM } from '../../loop-lm.js';
import type { DeviceOptions } from '../../runtime/index.js';
import { createNodeDevice } from './device.js';
import { nodeFolder } from './files.js';

/** Directory of the small model that comes with looplm. */
export function bundledModelPath(): string {
  const packageJson = createRequire(import.meta.url).resolve('looplm/package.json');
  return join(dirname(packageJson), 'models', 'bundled');
}

/**
 * Loads the model folder at a path. The model owns its device: `dispose` ends the worker thread.
 *
 * @throws FileError, CheckpointError or ConfigError if the folder does not hold a sound model;
 *   UnsupportedError if this machine does not have the kind of device.
 */
export async function loadModel(path: string, options: DeviceOptions = {}): Promise<LoopLM> {
  const device = await createNodeDevice(options);
  try {
    return await LoopLM.load(nodeFolder(path), { device, ownsDevice: true });
  } catch (error) {
    await device.dispose();
    throw error;
  }
}
