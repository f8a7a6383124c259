/**
 * Finds out whether this machine has a GPU that computes, without a word on the user's terminal.
 *
 * Libraries below ONNX Runtime write to the standard error of the process where a driver is missing,
 * and a faulty driver ends it. So the first try is made in a process of its own, which is not heard.
 */
import { fork } from 'node:child_process';
import { UnsupportedError } from '../../errors.js';
import type { PackedError } from '../../runtime/remote-errors.js';
import { unpackError } from '../../runtime/remote-errors.js';

/** What the other process says; nothing if it could not. */
export type GpuAnswer = { readonly error?: PackedError };

let tried: Promise<void> | undefined;

/**
 * Tries device "webgpu", once for a process.
 *
 * @throws UnsupportedError if it does not work here
 */
export function tryGpu(): Promise<void> {
  tried ??= tryInProcess();
  return tried;
}

async function tryInProcess(): Promise<void> {
  const entry = new URL('./gpu-try.js', import.meta.url);
  const child = fork(entry, { execArgv: [], stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const answer = await new Promise<GpuAnswer | undefined>((resolve) => {
    child.once('message', (message) => resolve(message as GpuAnswer));
    child.once('error', () => resolve(undefined));
    child.once('exit', () => resolve(undefined));
  });
  if (answer?.error) throw unpackError(answer.error);
  if (answer) return;
  throw new UnsupportedError(
    'device "webgpu" ended the process that tried it; its driver may be at fault. Update the driver, or use device "cpu".',
  );
}
