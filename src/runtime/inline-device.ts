/**
 * A device on the caller's own thread, for tests and scripts.
 *
 * Every run blocks the thread while it computes, so servers and terminals use a worker device.
 */
import type { Device, DeviceOptions } from './device.js';
import { Executor } from './executor.js';
import { openGraphDevice } from './graph-device.js';

/**
 * Opens a device that computes on this thread. Fed tensors are read in place: leave them unchanged
 * until the promise of `submit` settles.
 *
 * @throws ConfigError if an option is unknown or has a value that is not allowed
 */
export async function createInlineDevice(options: DeviceOptions = {}): Promise<Device> {
  const ort = await import('./ort-node.js');
  return openGraphDevice(options, (checked) => new Executor(ort, checked));
}
