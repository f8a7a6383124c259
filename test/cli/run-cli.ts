/**
 * Runs command lines in this process, as compiled, since the device's worker exists only there.
 */
import { existsSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import type { CliIo } from '../../src/cli/io.js';
import { repositoryPath } from '../repository.js';

const entry = repositoryPath('dist/src/cli/run.js');
if (!existsSync(entry)) throw new Error('dist/ is missing: run `npm run build` first.');
const { run } = (await import(pathToFileURL(entry).href)) as {
  run(argv: readonly string[], io: CliIo): Promise<number>;
};

export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Standard input. */
  readonly input?: string;
  readonly env?: CliIo['env'];
  /** Whether all three streams are a terminal. */
  readonly isTerminal?: boolean;
  /** Presses Ctrl-C: at once, or when something is written to stderr, or to stdout. */
  readonly interrupts?: 'at once' | 'at progress' | 'at output';
  /** Called when something is written to stdout. */
  readonly onOutput?: () => void;
  /** Milliseconds of the clock; default: it stands still. */
  readonly now?: () => number;
}

/** Runs one command line to its end. */
export async function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { input = '', env = {}, isTerminal = false, interrupts, onOutput, now = () => 0 } = options;
  const handlers: (() => void)[] = [];
  const interrupt = () => handlers.splice(0).at(-1)?.();
  const stdout = collector(() => {
    onOutput?.();
    if (interrupts === 'at output') setTimeout(interrupt, 0);
  });
  const stderr = collector(() => interrupts === 'at progress' && interrupt());
  const exitCode = await run(argv, {
    stdin: Object.assign(Readable.from([input]), { isTTY: isTerminal }),
    stdout: Object.assign(stdout.stream, { isTTY: isTerminal, columns: 100 }),
    stderr: Object.assign(stderr.stream, { isTTY: isTerminal, columns: 100 }),
    env,
    now,
    memoryBytes: () => 1,
    onInterrupt(handler) {
      if (handlers.length === 0 && interrupts === 'at once') setTimeout(interrupt, 0);
      handlers.push(handler);
      return () => {
        if (handlers.includes(handler)) handlers.splice(handlers.indexOf(handler), 1);
      };
    },
    endNow: () => {},
  });
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

/** Runs a command line with --json and parses what it prints. */
export async function cliJson<T>(argv: readonly string[], options: CliOptions = {}): Promise<T> {
  const { exitCode, stdout, stderr } = await cli([...argv, '--json'], options);
  if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as T;
}

function collector(onText: () => void = () => {}) {
  const parts: string[] = [];
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string, _, done) {
      parts.push(chunk);
      onText();
      done();
    },
  });
  return { stream, text: () => parts.join('') };
}
