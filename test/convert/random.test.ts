/** Random checkpoints: the shapes and bytes of a real one, and the same ones every time. */
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { elementCount, loadCheckpoint, parameterSpecs } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/index.js';
import { MIDDLE, temporaryFolder, weightsOf, writeRandomCheckpoint } from './support.js';

const temporary = temporaryFolder();
const to = (name: string) => join(temporary, name);
/** Its embedding is written in several parts. */
const config = { ...MIDDLE, numHiddenLayers: 1, intermediateSize: 320 };

describe('writeRandomCheckpoint', () => {
  it('gives the same bytes for a seed whatever the number of workers, and others for another', async () => {
    await writeRandomCheckpoint(`${to('one')}/`, config, { seed: 3, numWorkers: 1 });
    await writeRandomCheckpoint(to('three'), config, { seed: 3, numWorkers: 3 });
    await writeRandomCheckpoint(to('other'), config, { seed: 4 });
    expect(weightsOf(to('three'))).toBe(weightsOf(to('one')));
    expect(weightsOf(to('other'))).not.toBe(weightsOf(to('one')));
  });

  it.each(['bf16', 'f16', 'f32'] as const)('writes a sound checkpoint of %s', async (dtype) => {
    const size = await writeRandomCheckpoint(to(dtype), config, { dtype });
    const path = join(to(dtype), 'model.safetensors');
    const numValues = parameterSpecs(config).reduce(
      (sum, { shape }) => sum + elementCount(shape),
      0,
    );
    const valueBytes = dtype === 'f32' ? 4 : 2;
    expect(statSync(path).size).toBe(size);
    expect(size - valueBytes * numValues).toBeLessThan(3000);
    const loaded = await loadCheckpoint(nodeFolder(to(dtype)));
    expect(loaded).toMatchObject({ dtype, config, ignoredKeys: [] });
    for (const { hfName, kind } of parameterSpecs(config)) {
      const values = loaded.weights.get(hfName)!;
      if (kind === 'gateBias') continue;
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
      const [expectedMean, std] = kind === 'norm' ? [1, 0.1] : [0, 0.02];
      expect(Math.abs(mean - expectedMean)).toBeLessThan(
        (5 * std) / Math.sqrt(values.length) + 1e-4,
      );
      expect(Math.sqrt(variance)).toBeCloseTo(
        std,
        kind === 'norm' || kind === 'gateWeight' ? 1 : 3,
      );
    }
  });

  it('gives every tensor values of its own', async () => {
    await writeRandomCheckpoint(to('own'), config, { dtype: 'f32' });
    const { weights } = await loadCheckpoint(nodeFolder(to('own')));
    const starts = [...weights.values()].map((values) => Math.abs(values[0]! % 1));
    expect(new Set(starts).size).toBe(starts.length);
  });

  it('leaves nothing behind when it stops, and does not touch a folder in use', async () => {
    const controller = new AbortController();
    const stopped = writeRandomCheckpoint(to('stopped'), config, {
      signal: controller.signal,
      progress: () => controller.abort(new Error('enough')),
    });
    await expect(stopped).rejects.toThrow('enough');
    expect(existsSync(to('stopped'))).toBe(false);
    expect(readdirSync(temporary).filter((name) => name.includes('partial'))).toEqual([]);
    mkdirSync(to('used'));
    writeFileSync(join(to('used'), 'notes.txt'), 'mine');
    await expect(writeRandomCheckpoint(to('used'), config)).rejects.toThrow(
      /holds something already/,
    );
    await expect(writeRandomCheckpoint(to('x'), config, { seed: -1 })).rejects.toThrow(
      /seed is -1/,
    );
  });
});
