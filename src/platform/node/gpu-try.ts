/**
 * Entry of the process that tries a GPU: opens it, says how that went, and ends.
 */
import { Executor } from '../../runtime/executor.js';
import { openGraphDevice } from '../../runtime/graph-device.js';
import * as ort from '../../runtime/ort-node.js';
import { packError } from '../../runtime/remote-errors.js';
import type { GpuAnswer } from './gpu.js';

async function answer(): Promise<GpuAnswer> {
  try {
    const device = await openGraphDevice(
      { device: 'webgpu' },
      (options) => new Executor(ort, options),
    );
    await device.dispose();
    return {};
  } catch (error) {
    return { error: packError(error) };
  }
}

process.send?.(await answer(), () => process.disconnect());
