/** `looplm calibrate` writes what the library measures, in the form that `looplm convert` reads. */
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { convertedParameters, loadCheckpoint } from '../../src/model/index.js';
import { nodeFolder, openFile } from '../../src/platform/node/files/index.js';
import { openSafetensors } from '../../src/runtime/index.js';
import { TINY, cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const folder = temporaryFolder();
const BUNDLED = repositoryPath('models/bundled');

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Everything in a file of float32 tensors. */
async function read(path: string) {
  const file = await openFile(path);
  try {
    const { entries, metadata, readFloat32 } = await openSafetensors(file);
    const values = new Map<string, Float32Array>();
    for (const name of entries.keys()) values.set(name, await readFloat32(name));
    return { entries, metadata, values };
  } finally {
    await file.close();
  }
}

test('every matrix gets a mean square for each of its inputs, and the text is named', async () => {
  const text = '5, 9 2\n\n7,7 7 1\n';
  const out = join(folder, 'ids.safetensors');
  const argv = ['calibrate', TINY, '--ids', write('ids.txt', text), '--out', out];
  const textSha256 = createHash('sha256').update(text).digest('hex');
  const counts = { numTokens: 7, numLoops: 4, matrices: 15 };
  expect(await cliJson(argv)).toEqual({ out, ...counts, textSha256, seconds: 0 });
  const { entries, metadata, values } = await read(out);
  expect(Object.fromEntries(metadata)).toEqual({
    format: 'looplm-calibration',
    tokens: '7',
    loops: '4',
    text_sha256: textSha256,
  });
  const { config } = await loadCheckpoint(nodeFolder(TINY));
  const matrices = convertedParameters(config).filter(({ kind }) => /matrix|head/.test(kind));
  expect([...entries.keys()].toSorted()).toEqual(matrices.map((spec) => spec.hfName).toSorted());
  for (const { hfName, shape } of matrices) {
    expect(entries.get(hfName)).toMatchObject({ dtype: 'F32', shape: [shape[1]] });
    expect(values.get(hfName)!.every((value) => value > 0)).toBe(true);
  }
});

test('a text and lines of JSON are read with the tokenizer, and progress is told', async () => {
  const problem =
    "The ball is under cup 3. Swap cups 2 and 3. Where is the ball? It's under cup 2.";
  const out = join(folder, 'text.safetensors');
  const text = write('problem.txt', problem);
  const run = await cli(['calibrate', BUNDLED, '--text', text, '--out', out]);
  expect(run.stderr).toMatch(/^calibrating: 100 % of \d+ tokens\n$/);
  expect(run.stdout).toMatch(/^Wrote .*: inputs of 22 matrices over \d+ tokens and 4 loops, in/);
  const lines = write('problems.jsonl', `${JSON.stringify({ text: problem })}\n`);
  const other = join(folder, 'jsonl.safetensors');
  const limit = ['--max-tokens', '3'];
  const printed = await cliJson(['calibrate', BUNDLED, '--jsonl', lines, '--out', other, ...limit]);
  expect(printed).toMatchObject({ numTokens: 3 });
  expect((await read(other)).entries.size).toBe(22);
});

test('a q8 conversion of a model measures what the model does, and convert takes the file', async () => {
  const ids = write('more.txt', Array.from({ length: 64 }, (_, i) => (i * 37) % 256).join(' '));
  const q8 = join(folder, 'q8');
  expect((await cli(['convert', TINY, '--dtype', 'q8', '--out', q8])).exitCode).toBe(0);
  const measured = [];
  for (const [name, model] of [['plain', TINY] as const, ['quantised', q8] as const]) {
    const out = join(folder, `${name}.safetensors`);
    expect((await cli(['calibrate', model, '--ids', ids, '--out', out])).exitCode).toBe(0);
    measured.push((await read(out)).values);
  }
  const [plain, quantised] = measured;
  expect([...quantised!.keys()]).toEqual([...plain!.keys()]);
  for (const [matrix, values] of plain!) {
    const others = quantised!.get(matrix)!;
    const difference = Math.hypot(...values.map((value, index) => value - others[index]!));
    // Eight bits move states by a few percent, and their mean squares by less than twice that.
    expect(difference / Math.hypot(...values), matrix).toBeLessThan(0.05);
  }
  const flags = [
    '--calibration',
    join(folder, 'quantised.safetensors'),
    '--out',
    join(folder, 'q4'),
  ];
  const { exitCode, stdout } = await cli(['convert', TINY, '--dtype', 'q4', ...flags]);
  expect(exitCode).toBe(0);
  expect(stdout).toContain('scale-search with calibration');
});

test.each([
  ['no text', [], 'No text is given; give one of --text, --jsonl and --ids.'],
  ['two texts', ['--text', 'a', '--ids', 'b'], '--text and --ids are given; give one of'],
  ['a missing file', ['--ids', '/missing'], 'Cannot read /missing: it does not exist.'],
  ['no tokenizer', ['--text', write('a.txt', 'a')], 'has no tokenizer.json, which a text needs'],
  ['another word', ['--ids', write('b.txt', '1 2\n3 x4')], 'line 2: "x4" is not a token id.'],
  ['a strange id', ['--ids', write('c.txt', '1 256')], 'the token id 256; ids go from 0 to 255.'],
  ['no token', ['--ids', write('d.txt', '\n')], 'The documents hold 0 tokens'],
])('%s is refused in one line', async (_, flags, message) => {
  const out = join(folder, 'refused.safetensors');
  const { exitCode, stderr } = await cli(['calibrate', TINY, ...flags, '--out', out]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(existsSync(out)).toBe(false);
});

test('Ctrl-C ends it without a file', async () => {
  const ids = write('long.txt', Array.from({ length: 4000 }, (_, i) => i % 256).join(' '));
  const out = join(folder, 'interrupted.safetensors');
  const argv = ['calibrate', TINY, '--ids', ids, '--out', out];
  const { exitCode } = await cli(argv, { interrupts: 'at progress' });
  expect(exitCode).toBe(130);
  expect(existsSync(out)).toBe(false);
});
