import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointError } from '../errors.js';
import { concatBytes, memorySource } from './folder.js';
import type { SafetensorsTensor } from './safetensors.js';
import { encodeSafetensors, openSafetensors, safetensorsChunks } from './safetensors.js';

const open = (bytes: Uint8Array) => openSafetensors(memorySource('x.safetensors', bytes));

/** A file of the given header text and data, whatever they say. */
function fileOf(header: unknown, data = new Uint8Array(0)): Uint8Array {
  const json = new TextEncoder().encode(
    typeof header === 'string' ? header : JSON.stringify(header),
  );
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true);
  return concatBytes([prefix, json, data]);
}

const tensor = (start: number, end: number, shape = [(end - start) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [start, end],
});

describe('openSafetensors', () => {
  it('reads a file that another program wrote', async () => {
    const path = '../../test/fixtures/tiny-mha/golden.safetensors';
    const reader = await open(new Uint8Array(readFileSync(new URL(path, import.meta.url))));
    const golden = JSON.parse(
      readFileSync(new URL('../../test/fixtures/tiny-mha/golden.json', import.meta.url), 'utf8'),
    ) as { generate: { runs: { mode: string; token_logprob: number[] }[] } };
    const run = golden.generate.runs.find(({ mode }) => mode === 'full')!;
    expect(reader.entries.get('forward.hidden')?.shape).toEqual([4, 2, 12, 64]);
    const key = [...reader.entries.keys()].find((name) =>
      /^generate\.full.*\.token_logprob$/.test(name),
    )!;
    expect(await reader.readFloat32(key)).toEqual(Float32Array.from(run.token_logprob));
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /has 0 bytes/],
    ['a header beyond the file', fileOf({}).subarray(0, 9), /claims 2 bytes; at most 1/],
    ['a huge header', new Uint8Array(100).fill(255), /claims 18446744073709552000 bytes/],
    ['text that is not JSON', fileOf('{"a":'), /header is not JSON/],
    ['bytes that are not text', fileOf({}).fill(0xff, 8), /header is not JSON/],
    ['a list', fileOf([1]), /is a list of 1, not an object/],
    ['metadata that is not text', fileOf({ __metadata__: { a: 1 } }), /must map text to text/],
    ['an unknown type', fileOf({ a: tensor(0, 0, [0], 'F7') }), /unknown type "F7"/],
    ['an inherited type', fileOf({ a: tensor(0, 0, [0], 'toString') }), /unknown type/],
    ['a negative size', fileOf({ a: tensor(0, 0, [-1]) }), /wrong at "shape.0"/],
    ['an unsafe size', fileOf({ a: tensor(0, 0, [1e300]) }), /wrong at "shape.0"/],
    ['an extra key', fileOf({ a: { ...tensor(0, 0), b: 1 } }), /entry of tensor "a" is wrong/],
    ['no entry', fileOf({ a: null }), /entry of tensor "a" is wrong/],
    ['a shape that does not fit', fileOf({ a: tensor(0, 8, [3]) }), /spans 8 bytes but .* 12/],
    ['offsets in the wrong order', fileOf({ a: tensor(8, 0, [2]) }), /spans -8 bytes/],
    ['a product that overflows', fileOf({ a: tensor(0, 0, Array(99).fill(2 ** 52)) }), /spans 0/],
    ['overlap', fileOf({ a: tensor(0, 8), b: tensor(4, 12) }), /"b" overlaps/],
    ['a hole', fileOf({ a: tensor(0, 4), b: tensor(8, 12) }), /"b" leaves unused bytes/],
    ['a late start', fileOf({ a: tensor(4, 8) }), /"a" leaves unused bytes/],
    ['a file cut off', fileOf({ a: tensor(0, 8) }, new Uint8Array(7)), /is cut off/],
    ['trailing bytes', fileOf({ a: tensor(0, 8) }, new Uint8Array(9)), /1 bytes follow/],
    [
      'a tensor listed twice',
      fileOf(
        `{"a":${JSON.stringify(tensor(0, 0, [0]))},"\\u0061":${JSON.stringify(tensor(0, 0))}}`,
      ),
      /"a" is listed twice/,
    ],
    ['a name with a line break', fileOf({ 'a\nb\u2028': null }), /"a\\nb\\u2028"/],
  ])('refuses %s', async (_, bytes, message) => {
    const error = await open(bytes).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
    expect((error as Error).message).toMatch(/^x\.safetensors.*\.$/);
  });

  it('does not take keys inside an entry or strings with quotes for repeated names', async () => {
    const data = new Uint8Array(4);
    const file = fileOf(
      { __metadata__: { a: 'a', shape: '{"a":' }, a: tensor(0, 0), 'b"\\': tensor(0, 4) },
      data,
    );
    const reader = await open(file);
    expect([...reader.entries.keys()]).toEqual(['a', 'b"\\']);
    expect(reader.metadata.get('shape')).toBe('{"a":');
  });

  it('reads a double as the nearest float32, and refuses to read integers as floats', async () => {
    const bytes = encodeSafetensors([
      { name: 'd', dtype: 'F64', shape: [2], data: Float64Array.of(0.1, 1e-300) },
      { name: 'i', dtype: 'I32', shape: [], data: Int32Array.of(7) },
    ]);
    const reader = await open(bytes);
    expect(await reader.readFloat32('d')).toEqual(Float32Array.of(0.1, 0));
    await expect(reader.readFloat32('i')).rejects.toThrow(/"i" has type I32/);
    await expect(reader.readRaw('z')).rejects.toThrow(/no tensor "z"/);
  });
});

describe('encodeSafetensors', () => {
  const shapes = fc.array(fc.nat(4), { maxLength: 3 });
  const tensors = fc.uniqueArray(
    fc.record({
      name: fc.string({ unit: 'binary' }).filter((name) => name !== '__metadata__'),
      shape: shapes,
      dtype: fc.constantFrom('F32', 'F64', 'I64', 'I32', 'U8'),
    }),
    { selector: ({ name }) => name, maxLength: 6 },
  );
  const arrays = {
    F32: Float32Array,
    F64: Float64Array,
    I64: BigInt64Array,
    I32: Int32Array,
    U8: Uint8Array,
  };

  it('is undone by reading, for any names and types, with every tensor aligned', async () => {
    await fc.assert(
      fc.asyncProperty(tensors, fc.dictionary(fc.string(), fc.string()), async (list, metadata) => {
        const filled = list.map(({ name, shape, dtype }, seed) => {
          const length = shape.reduce((product, size) => product * size, 1);
          const bytes = new Uint8Array(length * arrays[dtype].BYTES_PER_ELEMENT);
          bytes.forEach((_, i) => (bytes[i] = (i * 37 + seed * 11) % 120));
          return { name, shape, dtype, data: new arrays[dtype](bytes.buffer) } as SafetensorsTensor;
        });
        const reader = await open(encodeSafetensors(filled, metadata));
        expect(reader.metadata).toEqual(new Map(Object.entries(metadata)));
        expect(reader.entries.size).toBe(filled.length);
        for (const { name, shape, dtype, data } of filled) {
          const entry = reader.entries.get(name)!;
          expect(entry).toMatchObject({ shape, dtype });
          expect(entry.byteOffset % data.BYTES_PER_ELEMENT).toBe(0);
          expect(await reader.readRaw(name)).toEqual(data);
        }
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  it('gives the same bytes for the same input, and its chunks borrow the tensors', () => {
    const data = Float32Array.of(1, 2, 3);
    const list: SafetensorsTensor[] = [{ name: 'a', dtype: 'F32', shape: [3], data }];
    expect(encodeSafetensors(list)).toEqual(encodeSafetensors(list));
    const [header, body] = [...safetensorsChunks(list)];
    expect(header!.length % 8).toBe(0);
    expect(body!.buffer).toBe(data.buffer);
  });

  it('rounds to 16 bits, keeps NaN and infinity, and refuses finite values beyond the range', async () => {
    const data = Float32Array.of(1.0009765625, -0, Number.NaN, Number.NEGATIVE_INFINITY);
    const bytes = encodeSafetensors([
      { name: 'h', dtype: 'F16', shape: [2, 2], data },
      { name: 'b', dtype: 'BF16', shape: [4], data },
    ]);
    const reader = await open(bytes);
    expect([...(await reader.readFloat32('h'))]).toEqual([...data]);
    expect([...(await reader.readFloat32('b'))]).toEqual([1, -0, Number.NaN, -Infinity]);
    const large = { name: 'h', dtype: 'F16', shape: [1], data: Float32Array.of(65520) } as const;
    expect(() => encodeSafetensors([large])).toThrow(/"h" holds 65520, .* range of F16/);
  });

  it('refuses a repeated name and a shape that does not fit', () => {
    const one = { name: 'a', dtype: 'F32', shape: [1], data: new Float32Array(1) } as const;
    expect(() => encodeSafetensors([one, one])).toThrow(/"a" is given twice/);
    expect(() => encodeSafetensors([{ ...one, shape: [2] }])).toThrow(/has 1 elements; .* needs 2/);
  });
});
