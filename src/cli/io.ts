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
   * cannot be written any more; returns the undo.
   */
  onInterrupt(handler: () => void): () => void;
}

/** The user pressed Ctrl-C: nothing more to say, exit code 130. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** Runs a task whose signal aborts at Ctrl-C; a second Ctrl-C ends the process. */
export async function interruptible<T>(
  io: CliIo,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const undo = io.onInterrupt(() => controller.abort());
  try {
    return await task(controller.signal);
  } finally {
    undo();
  }
}
