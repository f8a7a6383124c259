import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CheckpointError, FileError } from '../errors.js';
import { memoryFolder } from '../util/folder.js';
import type { SafetensorsTensor } from '../util/safetensors.js';
import { encodeSafetensors } from '../util/safetensors.js';
import { loadCheckpoint, openCheckpoint, saveCheckpoint } from './checkpoint.js';
import { parameterSpecs } from './params.js';

const SHARD_1 = 'model-00001-of-00002.safetensors';
const SHARD_2 = 'model-00002-of-00002.safetensors';
const INDEX = 'model.safetensors.index.json';

function fixture(name: string): Map<string, Uint8Array> {
  const path = new URL(`../../test/fixtures/${name}/`, import.meta.url);
  const names = readdirSync(path).filter((file) => !file.startsWith('golden'));
  return new Map(names.map((file) => [file, new Uint8Array(readFileSync(new URL(file, path)))]));
}

const folderOf = (files: Map<string, Uint8Array>) => memoryFolder('model', files);
const load = (name: string) => loadCheckpoint(folderOf(fixture(name)));

/** Whether two arrays hold the same bytes. */
function isSame(a: ArrayBufferView | undefined, b: ArrayBufferView | undefined): boolean {
  const bytes = (view: ArrayBufferView) =>
    Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  return a !== undefined && b !== undefined && bytes(a).equals(bytes(b));
}

/** A one-file f32 checkpoint of the tiny-mha config with edited tensors. */
async function edited(
  edit: (tensors: SafetensorsTensor[]) => SafetensorsTensor[],
  config: Record<string, unknown> = {},
) {
  const files = fixture('tiny-mha');
  const { config: shapes, weights } = await loadCheckpoint(folderOf(files));
  const tensors = parameterSpecs(shapes).map(({ hfName, shape }): SafetensorsTensor => ({
    name: hfName,
    shape,
    dtype: 'F32',
    data: weights.get(hfName)!.slice(),
  }));
  const json = JSON.parse(new TextDecoder().decode(files.get('config.json'))) as object;
  files.set('config.json', new TextEncoder().encode(JSON.stringify({ ...json, ...config })));
  files.set('model.safetensors', encodeSafetensors(edit(tensors)));
  return folderOf(files);
}

function editedIndex(edit: (map: Record<string, string>) => void) {
  const files = fixture('tiny-gqa-tied');
  const index = JSON.parse(new TextDecoder().decode(files.get(INDEX))) as {
    weight_map: Record<string, string>;
  };
  edit(index.weight_map);
  files.set(INDEX, new TextEncoder().encode(JSON.stringify(index)));
  return folderOf(files);
}

describe('loadCheckpoint', () => {
  it.each([
    { name: 'tiny-mha', dtype: 'f32', numLoops: 4 },
    { name: 'tiny-gqa-tied', dtype: 'bf16', numLoops: 3 },
  ])('reads $name with the parameters its golden counts', async ({ name, dtype, numLoops }) => {
    const checkpoint = await load(name);
    const golden = JSON.parse(
      readFileSync(new URL(`../../test/fixtures/${name}/golden.json`, import.meta.url), 'utf8'),
    ) as { parameters: number };
    const total = [...checkpoint.weights.values()].reduce((sum, { length }) => sum + length, 0);
    expect(total).toBe(golden.parameters);
    expect(checkpoint).toMatchObject({ dtype, ignoredKeys: [], config: { numLoops } });
  });

  it('reads the bits of the file', async () => {
    const bytes = fixture('tiny-mha').get('model.safetensors')!;
    const { weights } = await load('tiny-mha');
    const dataStart = 8 + new DataView(bytes.buffer).getUint32(0, true);
    const embedding = new Uint8Array(weights.get('model.embed_tokens.weight')!.buffer);
    expect(isSame(embedding, bytes.subarray(dataStart, dataStart + embedding.length))).toBe(true);
  });

  it('names a missing, an extra and a misshaped tensor, and one of another type', async () => {
    const gate = 'model.early_exit_gate.weight';
    const change = (patch: Partial<SafetensorsTensor>) =>
      edited((tensors) =>
        tensors.map((tensor) =>
          tensor.name === gate ? ({ ...tensor, ...patch } as SafetensorsTensor) : tensor,
        ),
      );
    const without = edited((tensors) => tensors.filter(({ name }) => name !== gate));
    await expect(loadCheckpoint(await without)).rejects.toThrow(
      /lacks "model.early_exit_gate.weight"/,
    );
    const extra = change({ name: 'model.odd' });
    await expect(loadCheckpoint(await extra)).rejects.toThrow(CheckpointError);
    const both = edited((tensors) => [...tensors, { ...tensors[0]!, name: 'model.odd' }]);
    await expect(loadCheckpoint(await both)).rejects.toThrow(/holds "model.odd"/);
    await expect(loadCheckpoint(await change({ shape: [64] }))).rejects.toThrow(
      /early_exit_gate.weight has shape \[64\]; config.json needs \[1, 64\]/,
    );
    const integers = change({ dtype: 'I32', data: new Int32Array(64) });
    await expect(loadCheckpoint(await integers)).rejects.toThrow(/gate.weight has type I32/);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('names a tensor that holds %d', async (value) => {
    const folder = await edited((tensors) => {
      (tensors[3]!.data as Float32Array)[5] = value;
      return tensors;
    });
    await expect(loadCheckpoint(folder)).rejects.toThrow(
      new RegExp(`layers.0.self_attn.q_proj.weight holds ${value} at element 5`),
    );
  });

  it('does not use a stored head of a tied model, and says so if it differs', async () => {
    const embeddingAsHead = (tensors: SafetensorsTensor[]) =>
      tensors.map((tensor) =>
        tensor.name === 'lm_head.weight' ? { ...tensors[0]!, name: tensor.name } : tensor,
      );
    const tied = { tie_word_embeddings: true };
    const { weights, notes } = await loadCheckpoint(await edited(embeddingAsHead, tied));
    expect(weights.has('lm_head.weight')).toBe(false);
    expect(notes).toEqual([]);
    const other = await loadCheckpoint(await edited((tensors) => tensors, tied));
    expect(other.weights).toEqual(weights);
    expect(other.notes).toEqual([
      expect.stringMatching(/another lm_head\.weight.*embedding is used/),
    ]);
  });

  it('refuses an index that is wrong about its shards', async () => {
    const name = 'model.norm.weight';
    const cases: [(map: Record<string, string>) => void, RegExp][] = [
      [(map) => (map[name] = SHARD_1), /holds the tensor "model.norm.weight", which the index/],
      [(map) => delete map[name], /holds the tensor "model.norm.weight", which the index/],
      [(map) => (map['model.odd'] = SHARD_2), /"model.odd" is not in model-00002/],
      [(map) => (map[name] = 'model-3.safetensors'), /"model-3.safetensors" is missing/],
      [(map) => (map[name] = `../${SHARD_2}`), /is not a plain name/],
      [(map) => (map[name] = '/etc/x.safetensors'), /is not a plain name/],
    ];
    for (const [edit, message] of cases) {
      await expect(loadCheckpoint(editedIndex(edit))).rejects.toThrow(message);
    }
  });

  it('refuses a folder without weights, without config, with text that is no JSON, or with two sets', async () => {
    const files = fixture('tiny-gqa-tied');
    const without = (name: string) => new Map([...files].filter(([file]) => file !== name));
    await expect(loadCheckpoint(folderOf(without(INDEX)))).rejects.toThrow(FileError);
    await expect(loadCheckpoint(folderOf(without('config.json')))).rejects.toThrow(FileError);
    const text = new TextEncoder().encode('{"a":\n');
    await expect(loadCheckpoint(folderOf(new Map([...files, [INDEX, text]])))).rejects.toThrow(
      /is not valid JSON/,
    );
    const single = fixture('tiny-mha').get('model.safetensors')!;
    const two = new Map([...files, ['model.safetensors', single]]);
    await expect(loadCheckpoint(folderOf(two))).rejects.toThrow(/has both/);
  });
});

describe('openCheckpoint', () => {
  it('reads only the tensor that is asked for, and closes what it opened', async () => {
    const folder = folderOf(fixture('tiny-gqa-tied'));
    let [bytesRead, numOpen] = [0, 0];
    const counting = {
      ...folder,
      open: async (name: string) => {
        const source = await folder.open(name);
        numOpen++;
        return {
          ...source,
          read: async (offset: number, length: number) => {
            bytesRead += length;
            return source.read(offset, length);
          },
          close: async () => {
            numOpen--;
          },
        };
      },
    };
    const checkpoint = await openCheckpoint(counting);
    bytesRead = 0;
    const { weights } = await load('tiny-gqa-tied');
    expect(await checkpoint.readTensor('model.norm.weight')).toEqual(
      weights.get('model.norm.weight'),
    );
    expect(bytesRead).toBe(48 * 2);
    await expect(checkpoint.readTensor('model.odd')).rejects.toThrow(CheckpointError);
    expect(numOpen).toBe(2);
    await checkpoint.close();
    expect(numOpen).toBe(0);
  });
});

describe('saveCheckpoint', () => {
  it.each([
    ['tiny-mha', 'f32'],
    ['tiny-gqa-tied', 'f32'],
    ['tiny-gqa-tied', 'bf16'],
  ] as const)('writing %s as %s and reading it gives equal bits', async (name, dtype) => {
    const { config, weights } = await load(name);
    const files = new Map<string, Uint8Array>();
    await saveCheckpoint(folderOf(files), config, weights, { dtype, extraFiles: { 'a.txt': 'é' } });
    const again = await loadCheckpoint(folderOf(files));
    expect(again).toMatchObject({ config, dtype, ignoredKeys: [] });
    expect([...again.weights.keys()]).toEqual([...weights.keys()]);
    for (const [key, values] of weights) {
      expect(isSame(again.weights.get(key), values), key).toBe(true);
    }
    expect([...files.keys()]).toEqual(['a.txt', 'model.safetensors', 'config.json']);
    const second = new Map<string, Uint8Array>();
    await saveCheckpoint(folderOf(second), again.config, again.weights, { dtype });
    expect([...second.keys()]).toEqual(['model.safetensors', 'config.json']);
    for (const [file, bytes] of second) expect(isSame(bytes, files.get(file)), file).toBe(true);
  });

  it('as f16 keeps every value to half a unit in the last of its 11 bits', async () => {
    const { config, weights } = await load('tiny-mha');
    const files = new Map<string, Uint8Array>();
    await saveCheckpoint(folderOf(files), config, weights, { dtype: 'f16' });
    const again = await loadCheckpoint(folderOf(files));
    expect(again.dtype).toBe('f16');
    for (const [name, values] of weights) {
      const rounded = again.weights.get(name)!;
      const isClose = values.every(
        (value, i) =>
          Math.abs(value - rounded[i]!) <= Math.max(Math.abs(value) * 2 ** -11, 2 ** -25),
      );
      expect(isClose, name).toBe(true);
    }
  });

  it('refuses weights that the config does not describe, and a folder with shards', async () => {
    const { config, weights } = await load('tiny-mha');
    const save = (changed: Map<string, Float32Array>, files = new Map<string, Uint8Array>()) =>
      saveCheckpoint(folderOf(files), config, changed, { dtype: 'f16' });
    const gate = 'model.early_exit_gate.bias';
    const change = (value: Float32Array) => new Map([...weights, [gate, value]]);
    await expect(save(new Map([...weights].slice(1)))).rejects.toThrow(
      /embed_tokens.weight is missing/,
    );
    await expect(save(new Map([...weights, ['odd', new Float32Array(1)]]))).rejects.toThrow(
      /"odd"/,
    );
    await expect(save(change(new Float32Array(2)))).rejects.toThrow(/bias is 2 elements long/);
    await expect(save(change(Float32Array.of(Number.NaN)))).rejects.toThrow(/bias holds NaN/);
    await expect(save(change(Float32Array.of(70000)))).rejects.toThrow(/beyond the range of F16/);
    await expect(save(new Map(weights), fixture('tiny-gqa-tied'))).rejects.toThrow(/in shards/);
  });
});
