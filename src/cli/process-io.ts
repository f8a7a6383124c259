/**
 * The streams, clock and signals of this process.
 *
 * Output that cannot be written ends the command as Ctrl-C does, so that long work keeps what is
 * done. A reader that went away (`| head`) is no fault and ends it quietly, with the code that a shell
 * gives for that; anything else, such as a full disk, is told on the other stream.
 */
import { writeError } from '../platform/node/files/errors.js';
import type { CliIo } from './io.js';

/** Ctrl-C, and the polite request to end. */
const INTERRUPTS = ['SIGINT', 'SIGTERM'] as const;

const SHOW_CURSOR = '\u001b[?25h';

/** 128 + SIGPIPE: what a program has that the signal ends. Node.js ignores it and gives EPIPE. */
const CLOSED_PIPE = 141;
const FAILED_OUTPUT = 2;

export interface ProcessIo extends CliIo {
  /** What the process must exit with, since its output failed; undefined if it did not. */
  failure(): number | undefined;
}

/** Until the first handler is there, Ctrl-C ends the process: nothing can be lost yet. */
export function processIo(): ProcessIo {
  // Not process.exit: that waits for the worker threads, and crashes where one computes natively.
  const dieOf = (name: NodeJS.Signals) => process.kill(process.pid, name);
  const leave = (name: NodeJS.Signals) => {
    for (const one of INTERRUPTS) process.off(one, leave);
    dieOf(name);
  };
  for (const name of INTERRUPTS) process.on(name, leave);
  const handlers: (() => void)[] = [];
  let failure: number | undefined;
  let received: NodeJS.Signals = 'SIGINT';
  const unlisten = () => {
    for (const name of INTERRUPTS) process.off(name, onSignal);
  };
  const callNewest = () => {
    unlisten();
    for (const newest of handlers.splice(0).slice(-1)) newest();
  };
  const onSignal = (name: NodeJS.Signals) => {
    received = name;
    if (process.stderr.isTTY) process.stderr.write(SHOW_CURSOR); // a progress bar may have hidden it
    callNewest();
  };
  const fail = (name: string, error: NodeJS.ErrnoException) => {
    if (failure !== undefined) return; // whatever follows fails, too
    failure = error.code === 'EPIPE' ? CLOSED_PIPE : FAILED_OUTPUT;
    process.exitCode = failure; // the command may have ended before its output did
    if (failure === FAILED_OUTPUT && name === 'stdout') {
      process.stderr.write(`error: ${writeError('standard output', error).message}\n`);
    }
    if (handlers.length === 0) process.exit(); // nothing is under way that could be lost
    callNewest();
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
      if (handlers.length === 0) for (const name of INTERRUPTS) process.on(name, onSignal);
      for (const name of INTERRUPTS) process.off(name, leave);
      handlers.push(handler);
      return () => {
        const index = handlers.indexOf(handler);
        if (index < 0) return;
        handlers.splice(index, 1);
        if (handlers.length === 0) unlisten();
      };
    },
    endNow() {
      if (failure !== undefined) return;
      unlisten();
      dieOf(received);
    },
    failure: () => failure,
  };
}
