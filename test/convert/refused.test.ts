/** What a conversion refuses, in one line that says what to do. */
import { copyFileSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SafetensorsTensor } from '../../src/util/safetensors.js';
import { encodeSafetensors } from '../../src/util/safetensors.js';
import { loadCheckpoint, parameterSpecs } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/index.js';
import { MAIN, convertModel, fixturePath, temporaryFolder, weightsOf } from './support.js';

const temporary = temporaryFolder();
const source = fixturePath('tiny-mha');
const to = (name: string) => join(temporary, name);

/** A copy of tiny-mha whose tensor holds one other value. */
async function withValue(name: string, hfName: string, value: number): Promise<string> {
  const { config, weights } = await loadCheckpoint(nodeFolder(source));
  mkdirSync(to(name));
  copyFileSync(join(source, 'config.json'), join(to(name), 'config.json'));
  const tensors = parameterSpecs(config).map((spec): SafetensorsTensor => {
    const data = weights.get(spec.hfName)!;
    if (spec.hfName === hfName) data[7] = value;
    return { name: spec.hfName, shape: spec.shape, dtype: 'F32', data };
  });
  writeFileSync(join(to(name), 'model.safetensors'), encodeSafetensors(tensors));
  return to(name);
}

describe('convertModel refuses', () => {
  it('a model that is converted already', async () => {
    await convertModel(source, to('once'), { dtype: 'q8' });
    await expect(convertModel(to('once'), to('twice'), { dtype: 'q4' })).rejects.toThrow(
      /once holds a converted model \(8-bit blocks of 128\).* Give the folder of that one/,
    );
  });

  it('a target that holds something else, and leaves it alone', async () => {
    await convertModel(source, to('taken'), { dtype: 'q8' });
    const before = weightsOf(to('taken'));
    await expect(convertModel(source, to('taken'), { dtype: 'q4' })).rejects.toThrow(
      /taken holds a conversion of another source or with other settings already. Name a new folder/,
    );
    mkdirSync(to('files'));
    writeFileSync(join(to('files'), 'notes.txt'), 'mine');
    await expect(convertModel(source, to('files'), { dtype: 'q4' })).rejects.toThrow(
      /files holds something already/,
    );
    expect(weightsOf(to('taken'))).toBe(before);
    expect(readdirSync(to('files'))).toEqual(['notes.txt']);
  });

  it('nothing when it is done already, or the target is an empty folder', async () => {
    mkdirSync(to('empty'));
    const first = await convertModel(source, to('empty'), { dtype: 'q4' });
    expect(await convertModel(source, to('empty'), { dtype: 'q4' })).toEqual(first);
  });

  it('a source that is missing or cut off', async () => {
    await expect(convertModel(to('nowhere'), to('x'), { dtype: 'q4' })).rejects.toThrow(
      /nowhere.*does not exist/,
    );
    const cut = await withValue('cut', '', 0);
    truncateSync(join(cut, 'model.safetensors'), 100_000);
    await expect(convertModel(cut, to('x'), { dtype: 'q4' })).rejects.toThrow(/it is cut off/);
  });

  it('a weight that is not finite, or beyond the range of f16', async () => {
    const hfName = 'model.layers.1.mlp.up_proj.weight';
    const broken = await withValue('broken', hfName, Number.NaN);
    await expect(convertModel(broken, to('x'), { dtype: 'q4' })).rejects.toThrow(
      /up_proj\.weight holds NaN; weights must be finite/,
    );
    const large = await withValue('large', hfName, 70_000);
    await expect(convertModel(large, to('y'), { dtype: 'f16' })).rejects.toThrow(
      /up_proj\.weight holds 70000, which is beyond the range of f16/,
    );
    await convertModel(large, to('large-q8'), { dtype: 'q8' });
  });

  it.each<[object, RegExp]>([
    [{ dtype: 'q5' }, /dtype of a conversion is q5; it must be one of q4, q8, f16, f32/],
    [{ dtype: 'f16', blockSize: 32 }, /f16 has no blocks/],
    [{ dtype: 'q4', blockSize: 48 }, /blockSize of a conversion is 48/],
    [{ dtype: 'f32', method: 'scale-search' }, /f32 does not quantise/],
    [{ dtype: 'q8', calibration: 'x' }, /only scale-search reads one/],
    [{ dtype: 'q4', numWorkers: 0 }, /number of workers is 0/],
  ])('the settings %o', async (settings, message) => {
    await expect(convertModel(source, to('z'), settings as { dtype: 'q4' })).rejects.toThrow(
      message,
    );
  });

  it('a full disk, keeping what is done', async () => {
    // A limit on the size of files ends writing at the same place as a full disk does.
    const convert = async (limit: string) => {
      const command = `trap '' XFSZ; ulimit -f ${limit}; exec "$@"`;
      const argv = [MAIN, 'convert', source, '--dtype', 'f32', '--out', to('full')];
      const child = spawn('bash', ['-c', command, 'bash', process.execPath, ...argv]);
      let stderr = '';
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      const [exitCode] = (await once(child, 'close')) as [number];
      return { exitCode, stderr };
    };
    expect(await convert('100')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringMatching(
        /error: Cannot write .*full.*: it is larger than a file may be here/,
      ),
    });
    expect((await convert('unlimited')).exitCode).toBe(0);
  });
});
