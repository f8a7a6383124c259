/** Trainings as processes: two at once, killed, and with nobody to read what they say. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { repositoryPath, temporaryFolder } from './support.js';

const MAIN = repositoryPath('dist/src/cli/main.js');
const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
writeFileSync(
  at('data.jsonl'),
  Array.from({ length: 20 }, (_, n) => `{"ids":[${n},1,2,3],"targets":[1,2,3,${n}]}`).join('\n'),
);

/** A run that is long enough to be met under way, and short enough to be waited for. */
function settings(name: string, change: object = {}): string {
  const path = at(`${name}.json`);
  const model = { hidden_size: 8, num_hidden_layers: 1, total_ut_steps: 2, vocab_size: 32 };
  const data = { path: 'data.jsonl', rows: 2, length: 8 };
  const steps = { trainSteps: 400, logEvery: 1, snapshotEvery: 20 };
  const validation = { evaluateEvery: 1000 };
  writeFileSync(path, JSON.stringify({ data, model, validation, ...steps, ...change }));
  return path;
}
const CONFIG = settings('run');

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function start(out: string, config = CONFIG): ChildProcess {
  const argv = [MAIN, 'train', '--config', config, '--out', out, '--threads', '1'];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  return child;
}

interface End {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function endOf(child: ChildProcess): Promise<End> {
  const text = (stream: Readable | null) => {
    const parts: string[] = [];
    stream?.on('data', (chunk: Buffer) => parts.push(chunk.toString()));
    return parts;
  };
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  const [exitCode] = (await once(child, 'close')) as [number | null];
  return { exitCode, stdout: stdout.join(''), stderr: stderr.join('') };
}

/** Waits until a run has done so many train steps. */
function reached(child: ChildProcess, trainStep: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes(`train step ${trainStep} of`)) resolve();
    });
    child.once('close', () => reject(new Error(text)));
  });
}

const weightsOf = (out: string) => readFileSync(join(out, 'model.safetensors'));
const filesOf = (out: string) => readdirSync(out).toSorted();

test('of two in one folder the second is refused, and the first is whole', async () => {
  const out = at('two');
  const first = start(out);
  const ended = endOf(first);
  await reached(first, 3);
  first.kill('SIGSTOP'); // it shall not be done before the second has begun
  const second = await endOf(start(out));
  first.kill('SIGCONT');
  expect(second.exitCode).toBe(2);
  expect(second.stderr).toMatch(
    new RegExp(
      `^error: Process ${first.pid} has been training in .*two since .* UTC\\. .*another folder`,
    ),
  );
  expect((await ended).exitCode).toBe(0);
  expect(filesOf(out)).toEqual([
    'config.json',
    'loss.svg',
    'metrics.jsonl',
    'model.safetensors',
    'snapshot.safetensors',
    'train-config.json',
  ]);
});

test('killed by SIGKILL, twice, it goes on at once and ends in the bytes of one that was not', async () => {
  const [whole, killed] = [at('whole'), at('killed')];
  expect((await endOf(start(whole))).exitCode).toBe(0);
  for (const trainStep of [30, 75]) {
    const child = start(killed);
    await reached(child, trainStep);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(filesOf(killed)).toContain('run.lock');
  }
  const { exitCode, stderr } = await endOf(start(killed));
  expect(exitCode).toBe(0);
  expect(Number(/^going on after train step (\d+)\n/.exec(stderr)?.[1]) % 20).toBe(0);
  expect(weightsOf(killed).equals(weightsOf(whole))).toBe(true);
  expect(filesOf(killed)).toEqual(filesOf(whole)); // no lock and no temporary file is left
});

test('with another seed it is refused, and the seed is named', async () => {
  const out = at('seed');
  const child = start(out);
  await reached(child, 25);
  child.kill('SIGKILL');
  await once(child, 'close');
  const { exitCode, stderr } = await endOf(start(out, settings('other', { seed: 5 })));
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/holds a snapshot of a run with other settings: seed was 0 and is 5\. /);
});

test('with nobody to read its lines it saves a snapshot and ends with the code of SIGPIPE', async () => {
  const out = at('pipe');
  const child = start(out);
  await reached(child, 5);
  child.stderr!.destroy();
  child.stdout!.destroy();
  const [exitCode] = (await once(child, 'exit')) as [number | null];
  expect(exitCode).toBe(141);
  expect(filesOf(out)).toContain('snapshot.safetensors');
  expect(filesOf(out)).not.toContain('run.lock');
  const { stderr } = await endOf(start(out));
  expect(Number(/^going on after train step (\d+)\n/.exec(stderr)?.[1])).toBeGreaterThanOrEqual(5);
});
