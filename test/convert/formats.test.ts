/** What is in a converted model: every weight within its format's error of the checkpoint's. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ModelFormat } from '../../src/model/index.js';
import {
  dequantizeBlocks,
  formatOf,
  loadCheckpoint,
  openConverted,
  parameterSpecs,
  relativeError,
  scalesName,
  squaredError,
} from '../../src/model/index.js';
import { nodeFolder, openFile } from '../../src/platform/node/index.js';
import { encodeSafetensors, openSafetensors } from '../../src/util/safetensors.js';
import { decodeFloat16 } from '../../src/util/half-float.js';
import { FIXTURES, convertModel, fixturePath, temporaryFolder } from './support.js';

const temporary = temporaryFolder();

/** All parameters of a converted model as float32, by the layout that the contract states. */
async function readBack(folder: string) {
  const { config, format } = await openConverted(nodeFolder(folder));
  const source = await openFile(join(folder, 'model.safetensors'));
  const reader = await openSafetensors(source);
  const weights = new Map<string, Float32Array>();
  const head = { name: 'lmHead', hfName: 'lm_head.weight', kind: 'head' } as const;
  const specs = parameterSpecs(config).filter(({ kind }) => kind !== 'head');
  for (const spec of [...specs, { ...head, shape: [config.vocabSize, config.hiddenSize] }]) {
    const stored = formatOf(spec, format);
    const raw = await reader.readRaw(spec.hfName);
    if (stored.kind === 'float') {
      const values = raw instanceof Uint16Array ? decodeFloat16(raw) : (raw as Float32Array);
      weights.set(spec.hfName, values);
      continue;
    }
    const [outputs, inputs] = spec.shape as [number, number];
    const scales = (await reader.readRaw(scalesName(spec.hfName))) as Float32Array;
    const blocks = { packed: raw as Uint8Array, scales };
    weights.set(spec.hfName, dequantizeBlocks(blocks, { outputs, inputs, format: stored }));
  }
  await source.close();
  return weights;
}

/** Most relative error of a matrix in a format. */
function errorBound(format: ModelFormat['body']): number {
  if (format.kind === 'float') return format.dtype === 'f32' ? 0 : 2 ** -11;
  return format.bits === 4 ? 0.12 : 0.01;
}

const SETTINGS = [
  { dtype: 'q4' },
  { dtype: 'q4', blockSize: 32, method: 'round-to-nearest', head: 'f32', embedding: 'f32' },
  { dtype: 'q8' },
  { dtype: 'q8', blockSize: 64, head: 'q8', method: 'scale-search' },
  { dtype: 'f16' },
  { dtype: 'f32' },
] as const;

describe.each(FIXTURES)('%s', (name) => {
  it.each(SETTINGS)('as %o keeps every weight within the error of its format', async (settings) => {
    const folder = join(temporary, `${name}-${Object.values(settings).join('-')}`);
    const report = await convertModel(fixturePath(name), folder, settings);
    const { config, weights } = await loadCheckpoint(nodeFolder(fixturePath(name)));
    const found = await readBack(folder);
    const { format } = await openConverted(nodeFolder(folder));
    expect(report.tensors.length).toBe(found.size);
    for (const { name: hfName, kind, relativeError: stated } of report.tensors) {
      const original = weights.get(hfName) ?? weights.get('model.embed_tokens.weight')!;
      const error = relativeError([squaredError(original, found.get(hfName)!)]);
      const spec = { name: '', hfName, kind, shape: [] };
      expect(error).toBeLessThanOrEqual(errorBound(formatOf(spec, format)));
      expect(stated).toBeCloseTo(error, 10);
    }
    expect(found.size).toBe(parameterSpecs(config).length + Number(config.tieWordEmbeddings));
  });

  it('is not changed by converting, and the config differs by its quantization_config only', async () => {
    const folder = join(temporary, `${name}-same`);
    await convertModel(fixturePath(name), folder, { dtype: 'f32' });
    const read = (path: string) =>
      JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as Record<string, unknown>;
    const { quantization_config: quantization, ...rest } = read(folder);
    expect(rest).toEqual(read(fixturePath(name)));
    expect(quantization).toMatchObject({ quant_method: 'looplm', version: 1 });
    expect(readdirSync(folder).toSorted()).toEqual([
      'config.json',
      'conversion.json',
      'model.safetensors',
    ]);
    expect(readdirSync(temporary).filter((file) => file.includes('partial'))).toEqual([]);
  });
});

describe('calibration', () => {
  const settings = { dtype: 'q4', method: 'scale-search', blockSize: 32 } as const;

  let numFiles = 0;

  async function calibrationFile(change: (means: Map<string, Float32Array>) => void) {
    const { config } = await loadCheckpoint(nodeFolder(fixturePath('tiny-mha')));
    const means = new Map<string, Float32Array>();
    for (const { hfName, kind, shape } of parameterSpecs(config)) {
      if (kind !== 'matrix') continue;
      means.set(
        hfName,
        Float32Array.from({ length: shape[1]! }, (_, i) => (i === 0 ? 1e6 : 1)),
      );
    }
    change(means);
    const path = join(temporary, `calibration-${numFiles++}.safetensors`);
    const tensors = [...means].map(([name, data]) => {
      return { name, data, dtype: 'F32', shape: [data.length] } as const;
    });
    writeFileSync(path, encodeSafetensors(tensors));
    return path;
  }

  it('lowers the error of the inputs that matter', async () => {
    const errorOfInput0 = async (folder: string) => {
      const { weights } = await loadCheckpoint(nodeFolder(fixturePath('tiny-mha')));
      const found = await readBack(folder);
      const hfName = 'model.layers.0.mlp.up_proj.weight';
      const column = (values: Float32Array) => values.filter((_, i) => i % 64 === 0);
      return relativeError([
        squaredError(column(weights.get(hfName)!), column(found.get(hfName)!)),
      ]);
    };
    const [plain, calibrated] = ['plain', 'calibrated'].map((name) => join(temporary, name)) as [
      string,
      string,
    ];
    const calibration = await calibrationFile(() => {});
    const plainReport = await convertModel(fixturePath('tiny-mha'), plain, settings);
    const report = await convertModel(fixturePath('tiny-mha'), calibrated, {
      ...settings,
      calibration,
    });
    expect(await errorOfInput0(calibrated)).toBeLessThan(0.5 * (await errorOfInput0(plain)));
    expect(plainReport.settings.calibration).toBeNull();
    expect(report.settings.calibration).toMatch(/^[0-9a-f]{64}$/);
    expect(report.key).not.toBe(plainReport.key);
  });

  it.each<[string, (means: Map<string, Float32Array>) => void, RegExp]>([
    ['lacks a matrix', (means) => means.delete('model.layers.1.mlp.up_proj.weight'), /lacks model/],
    [
      'has another size',
      (means) => means.set('model.layers.1.mlp.up_proj.weight', new Float32Array(3)),
      /as \[3\], not \[64\]/,
    ],
    [
      'has a strange name',
      (means) => means.set('x', new Float32Array(3)),
      /"x", which is no matrix/,
    ],
    [
      'is negative',
      (means) => means.get('model.layers.1.mlp.up_proj.weight')!.fill(-1),
      /-1 in model/,
    ],
  ])('that %s is refused', async (_, change, message) => {
    const calibration = await calibrationFile(change);
    const folder = join(temporary, 'refused');
    await expect(
      convertModel(fixturePath('tiny-mha'), folder, { ...settings, calibration }),
    ).rejects.toThrow(message);
  });
});
