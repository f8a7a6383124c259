/**
 * Opens a device that computes in a worker thread of Node.
 */
import { availableParallelism } from 'node:os';
import type { Device, DeviceOptions } from '../../runtime/device.js';
import { MAX_THREADS, openGraphDevice } from '../../runtime/graph-device.js';
import { connectWorker } from './device-worker.js';
import { switchOffTelemetry } from './telemetry.js';

/**
 * Opens a device in a worker thread of its own; the calling thread stays free while it computes.
 * Fed tensors are copied when `submit` is called. An idle device does not keep the process alive.
 *
 * @throws ConfigError if an option is unknown or has a value that is not allowed
 * @throws UnsupportedError if telemetry cannot be switched off from this thread
 */
export async function createNodeDevice(options: DeviceOptions = {}): Promise<Device> {
  await switchOffTelemetry();
  const { numThreads = Math.min(availableParallelism(), MAX_THREADS) } = options;
  return openGraphDevice({ ...options, numThreads }, connectWorker);
}
