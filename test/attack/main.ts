/**
 * `npm run attack -- --seed N --count 1000`: plays attacks and prints what came of them.
 *
 * Attacks are played in processes that are replaced when they crash, hang or grow: so these are seen.
 * `--only INDEX` plays one and prints all of it.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readFlags } from '../flags.js';
import { TIME_LIMIT_MS } from './play.js';
import type { Verdict } from './verdict.js';

const PLAYER = fileURLToPath(new URL('player.js', import.meta.url));
const MAX_RESIDENT_BYTES = 4e9;
const WATCH_MS = 500;

/** What came of an attack, or how its process ended before it could tell. */
type Result = Pick<Verdict, 'index' | 'faults'> & Partial<Verdict>;

class Player {
  #child: ChildProcess | undefined;

  /** Plays one attack; ends the process if that does not end by itself. */
  async play(seed: number, index: number): Promise<Result> {
    const child = (this.#child ??= fork(PLAYER, {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    }));
    let errors = '';
    const onErrors = (chunk: Buffer) => (errors += chunk.toString());
    child.stderr?.on('data', onErrors);
    return new Promise((resolve) => {
      const end = (result: Result) => {
        clearInterval(timer);
        child.removeAllListeners();
        child.stderr?.off('data', onErrors);
        const noise = errors === '' ? [] : [`printed by the process: ${errors.slice(0, 500)}`];
        resolve({ ...result, faults: [...result.faults, ...noise] });
      };
      const kill = (fault: string) => {
        child.kill('SIGKILL');
        this.#child = undefined;
        end({ index, faults: [fault], details: [drawn] });
      };
      let drawn = '';
      const start = performance.now();
      const timer = setInterval(() => {
        if (performance.now() - start > TIME_LIMIT_MS + 10_000) kill('a hang');
        else if (residentBytes(child.pid!) > MAX_RESIDENT_BYTES) kill('more than 4 GB of memory');
      }, WATCH_MS);
      child.on('message', (message: Verdict | { readonly drawn: string }) => {
        if ('drawn' in message) drawn = message.drawn;
        else end(message);
      });
      child.once('exit', (code, signal) => {
        this.#child = undefined;
        end({ index, faults: [`the process ended: ${signal ?? code}`], details: [drawn] });
      });
      child.send({ seed, index });
    });
  }

  stop(): void {
    this.#child?.kill();
  }
}

function residentBytes(pid: number): number {
  try {
    return 4096 * Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]);
  } catch {
    return 0;
  }
}

const { seed, count, only, jobs } = readFlags({ seed: 1, count: 1000, only: undefined, jobs: 2 });
const print = (line: string) => void process.stdout.write(`${line}\n`);

function describe({ index, target, story, end, details, faults }: Result): string {
  return [
    `#${index} of seed ${seed}: ${faults.join('; ') || 'as it should be'}`,
    ...(target === undefined ? [] : [`${target}, ${end}; spoilt: ${story}`]),
    ...(details ?? []),
  ].join('\n  ');
}

const indices = only === undefined ? Array.from({ length: count }, (_, index) => index) : [only];
const results: Result[] = [];
const queue = [...indices];
await Promise.all(
  Array.from({ length: jobs }, async () => {
    const player = new Player();
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      const result = await player.play(seed, index);
      results.push(result);
      if (result.faults.length > 0 || only !== undefined) print(describe(result));
      if (results.length % 100 === 0) print(`${results.length} of ${indices.length}`);
    }
    player.stop();
  }),
);

const counts = new Map<string, number>();
for (const { target = 'unknown', end = 'lost', faults } of results) {
  const key = `${target.slice(0, 24).padEnd(24)} ${faults.length > 0 ? 'FAULT' : end}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
print('');
for (const key of [...counts.keys()].toSorted((a, b) => a.localeCompare(b))) {
  print(`${JSON.stringify(key).slice(1, -1)} ${counts.get(key)}`);
}
const numFaults = results.filter(({ faults }) => faults.length > 0).length;
print(`${results.length} attacks of seed ${seed}, ${numFaults} with a fault`);
process.exitCode = numFaults === 0 ? 0 : 1;
