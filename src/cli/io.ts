/**
 * What the command line touches of its process, handed in so that tests can hand in their own.
 */
import type { Readable, Writable } from 'node:stream';

/** An output stream; the last three are set by Node for terminals only. */
export type CliOutput = Writable & { readonly isTTY?: boolean; readonly columns?: number };

export interface CliIo {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: CliOutput;
  readonly stderr: CliOutput;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds of a steady clock. */
  now(): number;
  /** Resident memory of the process. */
  memoryBytes(): number;
  /**
   * Calls the handler at the next Ctrl-C or SIGTERM, in place of ending the process, or when output
   * cannot be written any more; returns the undo. Of several handlers the newest is called, and then
   * none of them is left: a second Ctrl-C ends the process.
   */
  onInterrupt(handler: () => void): () => void;
  /** Ends the process as a second Ctrl-C would, without waiting for what is being computed. */
  endNow(): void;
}

/** Exit code after Ctrl-C: 128 + SIGINT, as a shell says it of a program that the signal ended. */
export const INTERRUPTED = 130;

/** The user pressed Ctrl-C: nothing more to say. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** What computing alone is worth: a program that runs natively cannot be stopped. */
export const PATIENCE_MS = 1000;

/**
 * Runs a task whose signal aborts at Ctrl-C, with an `InterruptedError` as its reason; a second Ctrl-C
 * ends the process.
 *
 * @param patienceMs - how long the task may take to end after that, before the process is ended;
 *   default: as long as it needs.
 */
export async function interruptible<T>(
  io: CliIo,
  task: (signal: AbortSignal) => Promise<T>,
  { patienceMs }: { readonly patienceMs?: number } = {},
): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const undo = io.onInterrupt(() => {
    controller.abort(new InterruptedError());
    if (patienceMs !== undefined) timer = setTimeout(() => io.endNow(), patienceMs);
  });
  try {
    return await task(controller.signal);
  } finally {
    clearTimeout(timer);
    undo();
  }
}
