/** `looplm inspect`: formats, errors, memory and checks of plain and converted models. */
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MemoryPlan, ModelFormat } from '../../src/model/index.js';
import type { ConversionReport } from '../../src/platform/node/index.js';
import { defaultFormat, planLoading } from '../../src/platform/node/index.js';
import { parseModelConfig } from '../../src/model/index.js';
import { setUpHub } from '../hub/hub-client.js';
import { MODEL } from '../hub/hub-server.js';
import { TINY, cli, cliJson, temporaryFolder } from './support.js';

interface Inspected {
  readonly format?: ModelFormat;
  readonly errors?: { part: string; format: string; mean: number; worst: number }[] | null;
  readonly sizeBytes: number;
  readonly tensors: { name: string; dtype: string; rms?: number }[];
  readonly checked: string;
  readonly cost: { context: number };
  readonly memory: Record<'per-loop' | 'last-exited' | 'shared', MemoryPlan>;
}

const temporary = temporaryFolder();
const Q4 = join(temporary, 'q4');
const converting = cliJson<ConversionReport>(['convert', TINY, '--dtype', 'q4', '--out', Q4]);
const inspect = (model: string, ...flags: string[]) =>
  cliJson<Inspected>(['inspect', '--model', model, ...flags]);

/** A copy of the converted model. */
async function copyOf(name: string): Promise<string> {
  await converting;
  const folder = join(temporary, name);
  cpSync(Q4, folder, { recursive: true });
  return folder;
}

describe('of a converted model', () => {
  it('tells formats, size, and the errors of its report by part', async () => {
    const report = await converting;
    const found = await inspect(Q4);
    expect(found.format).toMatchObject({
      body: { kind: 'blocks', bits: 4, blockSize: 64 },
      head: { kind: 'blocks', bits: 8, blockSize: 128 },
      embedding: { kind: 'float', dtype: 'f16' },
      method: 'scale-search',
    });
    const file = statSync(join(Q4, 'model.safetensors')).size;
    const header = Number(readFileSync(join(Q4, 'model.safetensors')).readBigUInt64LE()) + 8;
    expect(found.sizeBytes).toBe(file - header);
    const errors = report.tensors
      .filter(({ name }) => name.includes('.mlp.'))
      .map(({ relativeError }) => relativeError);
    expect(errors).toHaveLength(6);
    const mlp = found.errors!.find(({ part }) => part === 'MLP')!;
    expect(mlp.format).toBe('4-bit blocks of 64');
    expect(mlp.worst).toBe(Math.max(...errors));
    expect(mlp.mean).toBeCloseTo(errors.reduce((sum, error) => sum + error) / 6, 12);
  });

  it('reads norms and exit gate only, and says so', async () => {
    await converting;
    const found = await inspect(Q4);
    expect(found.checked).toBe('norms and exit gate');
    const read = found.tensors.filter(({ rms }) => rms !== undefined).map(({ name }) => name);
    expect(read.every((name) => /norm|early_exit_gate/.test(name))).toBe(true);
    expect(read).toHaveLength(2 * 4 + 1 + 2);
    const { stdout } = await cli(['inspect', '--model', Q4]);
    expect(stdout).toContain('; norms and exit gate finite, the rest not read');
    expect(stdout).toMatch(/part +format +size +mean error +worst error/);
    expect(stdout).toMatch(/body +4-bit blocks of 64\n +head +8-bit blocks of 128/);
    expect(stdout).toMatch(/under other policies: last-exited .*B, shared /);
  });

  it('without conversion.json does not know its errors', async () => {
    const folder = await copyOf('no-report');
    rmSync(join(folder, 'conversion.json'));
    expect((await inspect(folder)).errors).toBeNull();
    const { stdout } = await cli(['inspect', '--model', folder]);
    expect(stdout).toContain('no conversion.json: errors are not known');
  });

  it('finds a norm that is not finite, and a file that is cut off', async () => {
    const folder = await copyOf('damaged');
    const path = join(folder, 'model.safetensors');
    const bytes = readFileSync(path);
    const start = Number(bytes.readBigUInt64LE()) + 8;
    const entries = JSON.parse(bytes.toString('utf8', 8, start)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    bytes.writeFloatLE(NaN, start + entries['model.norm.weight']!.data_offsets[0]);
    writeFileSync(path, bytes);
    const nan = await cli(['inspect', '--model', folder]);
    expect(nan).toMatchObject({ exitCode: 2, stdout: '' });
    expect(nan.stderr).toMatch(
      /^error: .*model\.norm\.weight holds a value that is not finite.*\n$/,
    );
    writeFileSync(path, bytes.subarray(0, -1));
    const short = await cli(['inspect', '--model', folder]);
    expect(short).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('cut off') });
  });
});

describe('memory', () => {
  it('is planned for the context under all KV policies, as loading plans it', async () => {
    await converting;
    // 2 layers of 4 heads of 16: keys and values of a plane, once converted in i8, padded to 32
    // dimensions with a scale of 4 bytes
    const plane = 2 * 2 * 4 * 16;
    for (const [model, bytes] of [
      [TINY, 4],
      [Q4, (32 + 4) / 16],
    ] as const) {
      const { memory, cost } = await inspect(model, '--context', '100');
      expect(cost.context).toBe(100);
      const numLoops = memory['per-loop'].numLoops!;
      expect(memory['per-loop'].kvBytes).toBe(numLoops * plane * bytes * 100);
      expect(memory['last-exited'].kvBytes).toBe(numLoops * plane * bytes * 100);
      // its prompt runs all loops in planes of their own
      expect(memory.shared.kvBytes).toBe(numLoops * plane * bytes * 100);
      expect(memory.shared.kvBytesPerPosition).toEqual({
        'per-loop': numLoops * plane * bytes,
        'last-exited': numLoops * plane * bytes,
        shared: plane * bytes,
      });
    }
    expect((await inspect(TINY)).memory.shared.context).toBe(512); // that of the model
    const beyond = await cli(['inspect', '--model', TINY, '--context', '513']);
    expect(beyond).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('1 to 512') });
  });

  it('of a large checkpoint is that of the formats it is converted to', () => {
    const json = JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')) as object;
    const { config } = parseModelConfig({ ...json, vocab_size: 2_000_000 });
    expect(defaultFormat({ config })).toMatchObject({
      body: { kind: 'blocks', bits: 8, blockSize: 128 },
      head: { kind: 'float', dtype: 'f16' },
    });
    const small = parseModelConfig(json).config;
    expect(defaultFormat({ config: small })).toBeUndefined();
    expect(planLoading({ config: small }, {}).kvDtype).toBe('f32');
  });
});

describe('a name on the hub', () => {
  const hub = setUpHub();

  it('is pulled, and offline found in the cache', async () => {
    hub.hub.files.delete('tokenizer.json'); // which is no tokenizer
    const argv = ['inspect', '--model', MODEL, '--json'];
    const online = await cli(argv, { env: hub.platform.env });
    expect(online.exitCode).toBe(0);
    expect(online.stderr).toMatch(/^(pulling: \d+ % of .*\n)+$/);
    const { tensors, checked } = JSON.parse(online.stdout) as Inspected;
    expect(tensors).toHaveLength(27);
    expect(checked).toBe('all values');
    const offline = await cli([...argv, '--offline'], { env: hub.platform.env });
    expect(offline).toMatchObject({ exitCode: 0, stdout: online.stdout, stderr: '' });
  });
});
