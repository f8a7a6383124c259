/** `looplm tokenize`: what is in the shards, that stopping it changes nothing, and what is refused. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { openShards } from '../../src/platform/node/index.js';
import { Tokenizer, syntheticTokenizerFiles } from '../../src/tokenizer/index.js';
import { cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const files = syntheticTokenizerFiles(1000);
mkdirSync(at('tokenizer'));
for (const [name, text] of Object.entries(files)) writeFileSync(at('tokenizer', name), text);
const tokenizer = Tokenizer.fromJson(JSON.parse(files['tokenizer.json']!) as unknown);
const END = '<|endoftext|>';

const textOf = (index: number) => `Document ${index}: ${'größer '.repeat(index % 40)}`;
const TEXTS = Array.from({ length: 300 }, (_, index) => textOf(index));
writeFileSync(at('a.jsonl'), TEXTS.map((text) => JSON.stringify({ id: 1, text })).join('\n'));

const argv = (paths: readonly string[], out: string, ...more: string[]) => {
  return ['tokenize', ...paths, '--tokenizer', at('tokenizer'), '--out', at(out), ...more];
};

async function read(out: string): Promise<{ train: string[]; heldOut: string[] }> {
  const { train, heldOut, manifest } = await openShards(at(out));
  const texts = (shards: typeof train) =>
    shards.flatMap((shard) => {
      shard.verify(manifest.tokenizer.vocabSize);
      return Array.from({ length: shard.numDocuments }, (_, document) =>
        tokenizer.decode(shard.read(document, 0, shard.lengthOf(document))),
      );
    });
  return { train: texts(train), heldOut: texts(heldOut) };
}

test('every document is in the shards once, with its end; the hash of its text says where', async () => {
  const result = await cliJson<{ train: { documents: number }[] }>(
    argv([at('a.jsonl')], 'once', '--held-out', '0.2'),
  );
  const { train, heldOut } = await read('once');
  expect(train.length).toBe(result.train[0]!.documents);
  expect([...train, ...heldOut].toSorted()).toEqual(TEXTS.map((text) => text + END).toSorted());
  expect(heldOut.length).toBeGreaterThan(30);
  expect(heldOut.length).toBeLessThan(100);
  // Other files around it change nothing.
  writeFileSync(at('b.jsonl'), JSON.stringify({ text: 'another' }));
  await cli(argv([at('b.jsonl'), at('a.jsonl')], 'with-others', '--held-out', '0.2'));
  expect((await read('with-others')).heldOut.filter((text) => text !== `another${END}`)).toEqual(
    heldOut,
  );
});

test('a folder of shards is inspected', async () => {
  await cli(argv([at('a.jsonl')], 'inspected'));
  const { stdout, exitCode } = await cli(['inspect', '--data', at('inspected')]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/tokens .*inspected, sound\n.*tokens +documents +shards\n +train /);
  const shard = at('inspected', 'train-00000.shard');
  const bytes = readFileSync(shard);
  bytes[200]! ^= 1;
  writeFileSync(shard, bytes);
  const damaged = await cli(['inspect', '--data', at('inspected')]);
  expect(damaged.exitCode).toBe(2);
  expect(damaged.stderr).toMatch(
    /train-00000\.shard is damaged: its content does not have its checksum/,
  );
});

test('folders and patterns, plain text with and without separator, in the order of names', async () => {
  mkdirSync(at('corpus', 'deep'), { recursive: true });
  writeFileSync(at('corpus', 'b.txt'), 'one<|sep|>two<|sep|>\n<|sep|>three');
  writeFileSync(at('corpus', 'deep', 'a.jsonl'), '{"text": "four"}');
  writeFileSync(at('corpus', 'notes.pdf'), 'no');
  await cli(argv([at('corpus')], 'by-folder', '--held-out', '0', '--separator', '<|sep|>'));
  expect((await read('by-folder')).train).toEqual(
    ['one', 'two', 'three', 'four'].map((text) => text + END),
  );
  const whole = await cliJson<{ leftOut: object }>(
    argv([at('corpus', '**', '*.txt')], 'by-pattern', '--held-out', '0'),
  );
  expect((await read('by-pattern')).train).toEqual([`one<|sep|>two<|sep|>\n<|sep|>three${END}`]);
  expect(whole.leftOut).toEqual({ empty: 0, duplicates: 0 });
});

test('of a long text the held-out blocks are taken out, and nothing is lost', async () => {
  const text = Array.from({ length: 3000 }, (_, line) => `This is line ${line}.\n`).join('');
  writeFileSync(at('long.txt'), text);
  await cli(argv([at('long.txt')], 'long', '--held-out', '0.2'));
  const { train, heldOut } = await read('long');
  expect(heldOut.length).toBeGreaterThan(2);
  const inOrder = [...train, ...heldOut].toSorted(
    (a, b) => text.indexOf(a.replace(END, '')) - text.indexOf(b.replace(END, '')),
  );
  expect(inOrder.join('')).toBe(text + END);
});

test('copies and empty documents are left out and counted', async () => {
  const lines = ['a b', ' ', 'c d', 'a b', 'a  b', '', 'c d'].map((text) =>
    JSON.stringify({ text }),
  );
  writeFileSync(at('copies.jsonl'), lines.join('\n'));
  writeFileSync(at('copies2.jsonl'), JSON.stringify({ text: 'a b' }));
  const paths = [at('copies.jsonl'), at('copies2.jsonl')];
  const { leftOut } = await cliJson<{ leftOut: object }>(
    argv(paths, 'deduped', '--dedupe', '--held-out', '0'),
  );
  expect(leftOut).toEqual({ empty: 2, duplicates: 3 });
  expect((await read('deduped')).train).toEqual(['a b', 'c d', 'a  b'].map((text) => text + END));
});

describe('a corpus of several parts', () => {
  // More than one part of 16 MiB: of a few words that come again and again.
  const big = at('big.jsonl');
  const line = (index: number) =>
    JSON.stringify({ text: `${index} ${'the sum of words '.repeat(1200)}` });
  writeFileSync(big, Array.from({ length: 1000 }, (_, index) => line(index % 900)).join('\n'));
  const bytesOf = (out: string) =>
    readdirSync(at(out)).map((name) => [name, readFileSync(at(out, name)).toString('base64')]);
  const run = (out: string, workers: number) =>
    argv([big], out, '--dedupe', '--workers', String(workers));

  test('ends in the same bytes with any number of threads, and after it was killed', async () => {
    expect((await cli(run('one-thread', 1))).exitCode).toBe(0);
    const expected = bytesOf('one-thread');
    expect(expected.filter(([name]) => name!.startsWith('train-')).length).toBeGreaterThan(1);
    expect((await cli(run('three-threads', 3))).exitCode).toBe(0);
    expect(bytesOf('three-threads')).toEqual(expected);

    // Killed as soon as a part is written, again and again.
    const program = repositoryPath('dist/bin/looplm.js');
    for (let kills = 0; kills < 2; kills++) {
      const child = spawn(process.execPath, [program, ...run('killed', 1)], { stdio: 'ignore' });
      const parts = () =>
        existsSync(at('killed.partial', 'model'))
          ? readdirSync(at('killed.partial', 'model')).filter((name) => name.startsWith('part-'))
          : [];
      while (parts().length <= kills && child.exitCode === null) await wait(5);
      child.kill('SIGKILL');
      await once(child, 'exit');
      if (existsSync(at('killed'))) break;
    }
    expect((await cli(run('killed', 2))).exitCode).toBe(0);
    expect(bytesOf('killed')).toEqual(expected);
    expect(existsSync(at('killed.partial'))).toBe(false);
  });

  test('that Ctrl-C stopped goes on', async () => {
    const stopped = await cli(run('stopped', 1), { interrupts: 'at progress' });
    expect(stopped.exitCode).toBe(130);
    expect(stopped.stderr).toContain('the same command goes on from there');
    expect(existsSync(at('stopped'))).toBe(false);
    expect((await cli(run('stopped', 1))).exitCode).toBe(0);
    expect(bytesOf('stopped')).toEqual(bytesOf('one-thread'));
  });

  test('on a full disk is told, and goes on when there is room', async (context) => {
    mkdirSync(at('small'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', at('small')], {
        stdio: 'ignore',
      });
    } catch {
      context.skip('a file system of a few megabytes cannot be mounted here');
    }
    try {
      const full = await cli(run('small/out', 1));
      expect(full.exitCode).toBe(2);
      expect(full.stderr).toMatch(/the disk is full\. Free some space/);
      expect(existsSync(at('small', 'out'))).toBe(false);
      execFileSync('mount', ['-o', 'remount,size=90m', at('small')]);
      expect((await cli(run('small/out', 1))).exitCode).toBe(0);
      expect(bytesOf('small/out')).toEqual(bytesOf('one-thread'));
    } finally {
      execFileSync('umount', [at('small')]);
    }
  });
});

describe('refused with what is wrong', () => {
  const refusal = async (...given: string[]) => {
    const { exitCode, stderr } = await cli(given);
    expect(exitCode).toBe(2);
    expect(stderr.trimEnd().split('\n').at(-1)).toMatch(/\.$/);
    return stderr;
  };
  const refused = (path: string, ...more: string[]) => refusal(...argv([path], 'refused', ...more));

  test('files', async () => {
    writeFileSync(at('what.dat'), 'a');
    writeFileSync(at('void.txt'), '');
    mkdirSync(at('nothing'));
    expect(await refused(at('missing.txt'))).toMatch(/missing\.txt: it does not exist/);
    expect(await refused(at('*.nothing'))).toMatch(/matches no file/);
    expect(await refused(at('nothing'))).toMatch(/holds no file whose name ends in .*\.parquet/);
    expect(await refused(at('what.dat'))).toMatch(/what\.dat does not end in .* Name its format/);
    expect(await refused(at('void.txt'))).toMatch(/There is no text/);
    expect((await cli(argv([at('what.dat')], 'given', '--format', 'text'))).exitCode).toBe(0);
  });

  test('lines, by their number in the file', async () => {
    writeFileSync(at('wrong.jsonl'), '{"text": "a"}\n{"body": "b"}\n');
    expect(await refused(at('wrong.jsonl'))).toMatch(/wrong\.jsonl, line 2: it has body; .*"text"/);
    writeFileSync(at('latin.txt'), Buffer.from('abc\nd\xe9f\n', 'latin1'));
    expect(await refused(at('latin.txt'))).toMatch(
      /latin\.txt, line 2: byte 5 of the file is 0xE9/,
    );
    expect(readdirSync(folder).filter((name) => name === 'refused')).toEqual([]);
  });

  test('settings', async () => {
    expect(await refused(at('a.jsonl'), '--held-out', '0.7')).toMatch(/from 0 to 0\.5/);
    expect(await refused(at('a.jsonl'), '--separator', '')).toMatch(/The separator is empty/);
    expect(
      await refusal('tokenize', at('a.jsonl'), '--tokenizer', at('nothing'), '--out', at('x')),
    ).toMatch(/there is no tokenizer\.json in it/);
  });

  test('a folder that holds something else; one that is made already is left as it is', async () => {
    writeFileSync(at('c.jsonl'), '{"text": "c"}');
    await cli(argv([at('c.jsonl')], 'made'));
    const before = readFileSync(at('made', 'shards.json'), 'utf8');
    expect((await cli(argv([at('c.jsonl')], 'made'))).exitCode).toBe(0);
    expect(readFileSync(at('made', 'shards.json'), 'utf8')).toBe(before);
    expect(await refusal(...argv([at('a.jsonl')], 'made'))).toMatch(
      /holds shards of other files or with other settings already/,
    );
  });

  test('shards that are no longer those of their folder', async () => {
    writeFileSync(at('d.jsonl'), '{"text": "d"}');
    for (const [out, path] of [
      ['d1', 'd.jsonl'],
      ['d2', 'a.jsonl'],
    ] as const) {
      await cli(argv([at(path)], out, '--held-out', '0'));
    }
    copyFileSync(at('d1', 'train-00000.shard'), at('d2', 'train-00000.shard'));
    expect(await refusal('inspect', '--data', at('d2'))).toMatch(
      /is not the shard that shards\.json names/,
    );
    expect(await refusal('inspect', '--data', at('tokenizer'))).toMatch(/holds no shards\.json/);
  });
});
