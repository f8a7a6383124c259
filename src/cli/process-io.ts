/**
 * The streams, clock and signals of this process.
 *
 * Output that cannot be written ends the command as Ctrl-C does, so that long work keeps what is
 * done. A reader that went away (`| head`) is no fault and ends it quietly, with the code that a shell
 * gives for that; anything else, such as a full disk, is told on the other stream.
 */
import { writeError } from '../platform/node/index.js';
import type { CliIo } from './io.js';

/** Ctrl-C, and the polite request to end. */
const INTERRUPTS = ['SIGINT', 'SIGTERM'] as const;

/** 128 + SIGPIPE: what a program has that the signal ends. Node.js ignores it and gives EPIPE. */
const CLOSED_PIPE = 141;
const FAILED_OUTPUT = 2;

export interface ProcessIo extends CliIo {
  /** What the process must exit with, since its output failed; undefined if it did not. */
  failure(): number | undefined;
}

export function processIo(): ProcessIo {
  const handlers = new Set<() => void>();
  let failure: number | undefined;
  const fail = (name: string, error: NodeJS.ErrnoException) => {
    if (failure !== undefined) return; // whatever follows fails, too
    failure = error.code === 'EPIPE' ? CLOSED_PIPE : FAILED_OUTPUT;
    process.exitCode = failure; // the command may have ended before its output did
    if (failure === FAILED_OUTPUT && name === 'stdout') {
      process.stderr.write(`error: ${writeError('standard output', error).message}\n`);
    }
    if (handlers.size === 0) process.exit(); // nothing is under way that could be lost
    for (const handler of handlers) handler();
  };
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].on('error', (error: Error) => fail(name, error));
  }
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage.rss(),
    onInterrupt(handler) {
      handlers.add(handler);
      for (const name of INTERRUPTS) process.once(name, handler);
      return () => {
        handlers.delete(handler);
        for (const name of INTERRUPTS) process.off(name, handler);
      };
    },
    failure: () => failure,
  };
}
