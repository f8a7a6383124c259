/**
 * Opens a device that computes in a worker thread of Node.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Device, DeviceOptions } from '../../runtime/device.js';
import { MAX_THREADS, openGraphDevice } from '../../runtime/graph-device.js';
import type { WorkerLink } from '../../runtime/remote.js';
import { RemoteBackend } from '../../runtime/remote.js';
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
  return openGraphDevice({ ...options, numThreads }, (workerData) => {
    // Flags of the process, such as --input-type, need not suit the worker.
    const entry = new URL('./worker.js', import.meta.url);
    return new RemoteBackend(linkTo(new Worker(entry, { workerData, execArgv: [] })));
  });
}

function linkTo(worker: Worker): WorkerLink {
  return {
    send: (message, transfer) => worker.postMessage(message, transfer),
    onMessage: (handler) => worker.on('message', handler),
    onStop(handler) {
      const stop = (why: string, cause?: unknown) =>
        handler(new Error(`the device's worker thread stopped: ${why}`, { cause }));
      worker.on('error', (error) => stop(String(error), error));
      worker.on('exit', (exitCode) => stop(`it exited with code ${exitCode}`));
    },
    setBusy: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
    close: async () => void (await worker.terminate()),
  };
}
