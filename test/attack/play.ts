/** Carries attacks out, in this process or in one of their own, and says what came of them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { cli } from '../cli/run-cli.js';
import { repositoryPath } from '../repository.js';
import type { Attack } from './attacks.js';
import type { Place } from './place.js';

/** What a command did. */
export interface Outcome {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longer than anything here takes on a busy machine. */
export const TIME_LIMIT_MS = 120_000;

const MAIN = repositoryPath('dist/src/cli/main.js');

/** Plays an attack in its place; the current folder is that place afterwards. */
export async function play(attack: Attack, place: Place): Promise<Outcome> {
  process.chdir(place.path);
  const env = {
    LOOPLM_CACHE: join(place.path, 'cache'),
    HF_HOME: join(place.path, 'hf'),
    ...attack.env,
  };
  if (attack.stdout !== undefined) return playApart(attack, place, env);
  const { argv, input, isTerminal, interruptMs } = attack;
  const interrupts = interruptMs === undefined ? {} : { interrupts: pickInterrupt(interruptMs) };
  return { ...(await cli(argv, { env, input, isTerminal, ...interrupts })), signal: null };
}

const pickInterrupt = (ms: number) =>
  ms % 2 === 0 ? ('at once' as const) : ('at progress' as const);

async function playApart(
  { argv, input, interruptMs, stdout: kind }: Attack,
  { path, outer }: Place,
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const full = kind === 'full' ? openSync(join(path, 'full'), 'w') : undefined;
  const child = spawn(process.execPath, [MAIN, ...argv], {
    cwd: path,
    env: { PATH: process.env['PATH'], HOME: outer, ...env },
    stdio: ['pipe', full ?? 'pipe', 'pipe'],
    timeout: TIME_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  if (full !== undefined) closeSync(full);
  const timer =
    interruptMs === undefined ? undefined : setTimeout(() => child.kill('SIGINT'), interruptMs);
  const texts = { stdout: '', stderr: '' };
  child.stderr?.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
  if (kind === 'closed') child.stdout?.destroy();
  else child.stdout?.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stdin?.on('error', () => {}); // it need not read
  child.stdin?.end(input);
  const [exitCode, signal] = (await once(child, 'close')) as [number | null, string | null];
  clearTimeout(timer);
  return { exitCode, signal, ...texts };
}
