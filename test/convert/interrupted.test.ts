/** A conversion may end at any moment, and be started twice: the result is the same. */
import {
  existsSync,
  openSync,
  readFileSync,
  readdirSync,
  writeSync,
  closeSync,
  statSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { generatorFor } from '../../src/util/random.js';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import {
  MAIN,
  MIDDLE,
  convertModel,
  NODE_ENTRY,
  runNode,
  temporaryFolder,
  weightsOf,
  writeRandomCheckpoint,
} from './support.js';

const temporary = temporaryFolder();
const source = join(temporary, 'source');
const SETTINGS = { dtype: 'q4', method: 'round-to-nearest' } as const;
const commandTo = (target: string) => [
  MAIN,
  'convert',
  source,
  '--out',
  target,
  '--dtype',
  'q4',
  '--method',
  'round-to-nearest',
];

/** Runs a program of Node to its end, during which this process does nothing else. */
const runNodeNow = (argv: readonly string[]) =>
  spawnSync(process.execPath, argv, { encoding: 'utf8' });

/** 60 MB in bf16, in some hundred pieces. */
const SMALL = {
  ...MIDDLE,
  hiddenSize: 512,
  intermediateSize: 1408,
  numHiddenLayers: 8,
  numAttentionHeads: 4,
  numKeyValueHeads: 4,
  vocabSize: 4096,
};
let wholeBytes = 0;
let expected = '';

beforeAll(async () => {
  await writeRandomCheckpoint(source, SMALL, { seed: 1 });
  const whole = join(temporary, 'whole');
  await convertModel(source, whole, SETTINGS);
  expected = weightsOf(whole);
  wholeBytes = statSync(join(whole, 'model.safetensors')).size;
});

/** Converts in a process that kills itself (SIGKILL) once it has done so many tenths. */
async function convertAndKill(target: string, tenths: number): Promise<void> {
  const script = `
    const { convertModel } = await import(${JSON.stringify(NODE_ENTRY)});
    const progress = ({ doneBytes, totalBytes }) => {
      if (doneBytes >= ${tenths / 10} * totalBytes) process.kill(process.pid, 'SIGKILL');
    };
    await convertModel(${JSON.stringify(source)}, ${JSON.stringify(target)}, {
      ...${JSON.stringify(SETTINGS)}, progress });`;
  const { exitCode } = await runNode(['--input-type=module', '-e', script]);
  expect(exitCode).toBeNull();
  expect(existsSync(target)).toBe(false);
}

describe('a conversion that was killed', () => {
  it('at any moments, again and again, is completed with the same bytes', async () => {
    const rng = generatorFor(11);
    const target = join(temporary, 'killed');
    const moments = [1, 2, 3].map((part) => uniformInt(rng, 3 * part - 2, 3 * part));
    for (const tenths of moments) await convertAndKill(target, tenths);
    const before = readFileSync(`${target}.partial/journal.jsonl`, 'utf8').split('\n').length;
    const { exitCode, stderr } = await runNode(commandTo(target));
    expect(exitCode).toBe(0);
    expect(stderr).not.toContain('error');
    expect(weightsOf(target)).toBe(expected);
    expect(before).toBeGreaterThan(10);
    expect(readdirSync(temporary)).not.toContain('killed.partial');
  });

  it('before its first word, is completed', async () => {
    const target = join(temporary, 'early');
    const argv = [MAIN, ...commandTo(target).slice(1)];
    const script = `
      import { spawn } from 'node:child_process';
      const child = spawn(process.execPath, ${JSON.stringify(argv)}, { stdio: 'ignore' });
      setTimeout(() => child.kill('SIGKILL'), 500);
      child.on('exit', () => process.exit());`;
    await runNode(['--input-type=module', '-e', script]);
    expect((await runNode(commandTo(target))).exitCode).toBe(0);
    expect(weightsOf(target)).toBe(expected);
  });

  it('does not trust bytes that changed since, nor half a line of its journal', async () => {
    const target = join(temporary, 'damaged');
    await convertAndKill(target, 6);
    const path = `${target}.partial/model/model.safetensors`;
    const file = openSync(path, 'r+');
    for (let at = 100_000; at < wholeBytes; at += 500_000) writeSync(file, 'damage', at);
    closeSync(file);
    const journal = openSync(`${target}.partial/journal.jsonl`, 'a');
    writeSync(journal, '{"piece":3,"sha2');
    closeSync(journal);
    expect((await runNode(commandTo(target))).exitCode).toBe(0);
    expect(weightsOf(target)).toBe(expected);
  });

  it('is not continued with other settings', async () => {
    const target = join(temporary, 'changed');
    await convertAndKill(target, 4);
    const { settings } = await convertModel(source, target, { ...SETTINGS, blockSize: 128 });
    expect(settings.body).toEqual({ kind: 'blocks', bits: 4, blockSize: 128 });
    const direct = join(temporary, 'direct');
    await convertModel(source, direct, { ...SETTINGS, blockSize: 128 });
    expect(weightsOf(target)).toBe(weightsOf(direct));
  });
});

describe('a signal', () => {
  it('stops a conversion, which the next one continues', async () => {
    const target = join(temporary, 'aborted');
    const controller = new AbortController();
    const stopped = convertModel(source, target, {
      ...SETTINGS,
      signal: controller.signal,
      progress: ({ doneBytes, totalBytes }) => {
        if (doneBytes > totalBytes / 2) controller.abort(new Error('enough'));
      },
    });
    await expect(stopped).rejects.toThrow('enough');
    await convertModel(source, target, SETTINGS);
    expect(weightsOf(target)).toBe(expected);
  });
});

describe('two processes at once', () => {
  it('with one target: the second is refused, and the first completes', async () => {
    const target = join(temporary, 'refused');
    let second: ReturnType<typeof runNodeNow> | undefined;
    await convertModel(source, target, {
      ...SETTINGS,
      // The first conversion stands still while the second process runs.
      progress: () => (second ??= runNodeNow(commandTo(target))),
    });
    expect(second).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(
        /Process \d+ has been converting to .*refused since .*\. Wait for it/,
      ),
    });
    expect(weightsOf(target)).toBe(expected);
  });

  it('share one conversion of the cache, also if the first is killed', async () => {
    const script = `
      const { convertedFolder } = await import(${JSON.stringify(NODE_ENTRY)});
      const progress = ({ doneBytes, totalBytes }) => {
        process.stderr.write('. ');
        if (doneBytes > totalBytes / 2 && process.argv[1] === 'dies') process.kill(process.pid, 'SIGKILL');
      };
      const folder = await convertedFolder({ path: ${JSON.stringify(source)} }, ${JSON.stringify(SETTINGS)}, {
        cacheDir: ${JSON.stringify(join(temporary, 'cache'))}, progress });
      process.stdout.write(folder);`;
    const argv = ['--input-type=module', '-e', script];
    let others: Promise<Awaited<ReturnType<typeof runNode>>[]> | undefined;
    const first = await runNode([...argv, 'dies'], () => {
      others ??= Promise.all([runNode(argv), runNode(argv)]);
    });
    expect(first.exitCode).toBeNull();
    const [second, third] = (await others!) as [typeof first, typeof first];
    expect([second.exitCode, third.exitCode]).toEqual([0, 0]);
    expect(second.stdout).toBe(third.stdout);
    expect(second.stdout).toMatch(/cache\/converted\/source-q4-[0-9a-f]{16}$/);
    expect(weightsOf(second.stdout)).toBe(expected);
    // Only one of the two did the work; the other waited.
    expect([second.stderr, third.stderr].filter((text) => text !== '').length).toBe(1);
  });
});

describe('memory', () => {
  it('does not grow with the model', async () => {
    const middle = join(temporary, 'middle');
    await writeRandomCheckpoint(middle, MIDDLE);
    const script = `
      const { convertModel } = await import(${JSON.stringify(NODE_ENTRY)});
      await convertModel(${JSON.stringify(middle)}, ${JSON.stringify(join(temporary, 'measured'))}, {
        dtype: 'q8', numWorkers: 2 });
      process.stdout.write(String(process.resourceUsage().maxRSS));`;
    const { stdout } = await runNode(['--input-type=module', '-e', script]);
    const largestTensor = 2 * MIDDLE.vocabSize * MIDDLE.hiddenSize;
    // The promise is 1 GB; a conversion that read this model whole would take 600 MB.
    expect(1024 * Number(stdout)).toBeLessThan(1.5 * largestTensor + 400e6);
  });
});
