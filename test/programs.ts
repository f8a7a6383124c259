/** Programs that run beside a test: started, watched, ended; ports for them. */
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';

/** Debian's packages of programs. */
const PACKAGES = {
  haproxy: 'haproxy',
  prometheus: 'prometheus',
  promtool: 'prometheus',
  'nats-server': 'nats-server',
} as const;

export type ProgramName = keyof typeof PACKAGES;

/** Where an administrator's programs may lie that a user's path leaves out. */
const FOLDERS = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];

/** Path of a program; undefined where it is not installed. */
function findProgram(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Those that are not installed. */
export function missingPrograms(names: readonly ProgramName[]): readonly ProgramName[] {
  return names.filter((name) => findProgram(name) === undefined);
}

/** Installs them from Debian's packages, as root. */
export function installPrograms(names: readonly ProgramName[]): void {
  const packages = [...new Set(names.map((name) => PACKAGES[name]))];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]) =>
    void execFileSync('apt-get', args, { env, stdio: ['ignore', 2, 2] });
  apt('update');
  apt('install', '--yes', '--no-install-recommends', ...packages);
}

/** A program that runs. */
export interface Program {
  readonly child: ChildProcess;
  /** All that it has written, on both streams. */
  output(): string;
  /** Its exit code, once it has ended; null if a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Ends it, if it runs. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** No test may leave one behind, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export function startProgram(name: string, args: readonly string[]): Program {
  const child = spawn(findProgram(name) ?? name, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return {
    child,
    output: () => output,
    ended,
    stop(signal = 'SIGTERM') {
      child.kill(signal);
      return ended;
    },
  };
}

/** Waits until a program that was just started answers; fails with its output if it ends instead. */
export async function untilAnswers(program: Program, ask: () => Promise<Response>): Promise<void> {
  const isReady = async () => (await ask()).ok || undefined;
  const ended = program.ended.then(() => {
    throw new Error(`ended instead of answering: ${program.output()}`);
  });
  await Promise.race([until('an answer of a program', isReady), ended]);
}

/** Runs a program to its end; throws with what it wrote if that is a failure. */
export function runProgram(name: string, args: readonly string[]): string {
  return execFileSync(findProgram(name) ?? name, args, { encoding: 'utf8', stdio: 'pipe' });
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

const POLL_MS = 50;

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Asks until there is an answer; fails after a while, with the last failure. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  maxMs = 30_000,
): Promise<T> {
  const start = performance.now();
  for (;;) {
    let failure: unknown;
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      failure = error;
    }
    if (performance.now() - start > maxMs) {
      throw new Error(`waited in vain for: ${what}`, { cause: failure });
    }
    await sleep(POLL_MS);
  }
}
