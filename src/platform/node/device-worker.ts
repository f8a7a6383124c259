/**
 * The worker thread of a device. It can be started before anything else is known or loaded: until ONNX
 * Runtime runs in it takes as long as everything that a program loads meanwhile.
 */
import { Worker, isMainThread } from 'node:worker_threads';
import type { DeviceOptions } from '../../runtime/device.js';
import type { WorkerLink } from '../../runtime/remote.js';
import { RemoteBackend } from '../../runtime/remote.js';
import { threadEntry } from './thread-entry.js';
import './telemetry.js'; // of the main thread, from here on off

let ahead: WorkerLink | undefined;

/** Starts the thread of the device that is opened next, if this is the main thread. */
export function startWorkerAhead(): void {
  if (isMainThread) ahead ??= startWorker();
}

/** Ends a thread that was started ahead and of which no device was made. */
export async function endUnusedWorker(): Promise<void> {
  if (!ahead) return;
  // Not at once: it may be loading its native library. If it cannot, nobody wanted to know.
  await connectWorker({})
    .dispose()
    .catch(() => {});
}

/** A backend in a thread of its own. */
export function connectWorker(options: DeviceOptions): RemoteBackend {
  const link = ahead ?? startWorker();
  ahead = undefined;
  link.send(options, []);
  return new RemoteBackend(link);
}

function startWorker(): WorkerLink {
  // Flags of the process, such as --input-type, need not suit the worker.
  const worker = new Worker(threadEntry('worker'), { execArgv: [] });
  worker.unref();
  const stopped = new Promise<Error>((resolve) => {
    const stop = (why: string, cause?: unknown) =>
      resolve(new Error(`the device's worker thread stopped: ${why}`, { cause }));
    worker.on('error', (error) => stop(String(error), error));
    worker.on('exit', (exitCode) => stop(`it exited with code ${exitCode}`));
  });
  return {
    send: (message, transfer) => worker.postMessage(message, transfer),
    onMessage: (handler) => worker.on('message', handler),
    onStop: (handler) => void stopped.then(handler),
    setBusy: (isBusy) => (isBusy ? worker.ref() : worker.unref()),
    close: async () => void (await worker.terminate()),
  };
}
