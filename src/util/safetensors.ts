/**
 * The safetensors container: named tensors behind a JSON header, read by range and written in
 * chunks, so that files larger than memory pass through.
 *
 * Reading trusts nothing: the header must describe every byte of the file exactly once, so no
 * allocation is larger than the file. It does not know models. Numbers are little-endian, as on
 * every machine that runs JavaScript engines today.
 * Source: format description of huggingface/safetensors.
 */
import { z } from 'zod';
import { CheckpointError } from '../errors.js';
import { bytesOf } from './bytes-of.js';
import type { ByteSource } from './folder.js';
import { concatBytes } from './folder.js';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from './half-float.js';
import { quote, showValue } from './quote.js';

/** Bytes of one element of each type that the container can hold. */
const ELEMENT_BYTES = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;

/** Element type of a stored tensor. */
export type SafetensorsDtype = keyof typeof ELEMENT_BYTES;

/** Bytes of one element. */
export const elementBytes = (dtype: SafetensorsDtype): number => ELEMENT_BYTES[dtype];

/** Where a tensor lies in its file and how to read it. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** An open safetensors file. It borrows its source: close that when done. */
export interface SafetensorsReader {
  /** In the order of their bytes. */
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /** The free text entries under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * A tensor as float32 in a new array: F32 as it is, F16 and BF16 widened exactly, F64 rounded.
   *
   * @throws CheckpointError if there is no such tensor or it does not hold floats.
   */
  readFloat32(name: string): Promise<Float32Array>;
  /**
   * A tensor in a new array of its own type (F16 and BF16 as bit patterns, BOOL as bytes).
   *
   * @throws CheckpointError if there is no such tensor or it has a type without array.
   */
  readRaw(name: string): Promise<RawArray>;
}

/** The arrays that `readRaw` gives, one for each of F64, F32, F16 or BF16, I64, I32, U8 or BOOL. */
export type RawArray =
  | Float64Array
  | Float32Array
  | Uint16Array
  | BigInt64Array
  | Int32Array
  | Uint8Array;

/** A tensor to write. `data` has the product of `shape` elements, row-major. */
export type SafetensorsTensor = {
  readonly name: string;
  readonly shape: readonly number[];
} & (
  | { readonly dtype: 'F32' | 'F16' | 'BF16'; readonly data: Float32Array }
  | { readonly dtype: 'F64'; readonly data: Float64Array }
  | { readonly dtype: 'I64'; readonly data: BigInt64Array }
  | { readonly dtype: 'I32'; readonly data: Int32Array }
  | { readonly dtype: 'U8'; readonly data: Uint8Array }
);

const LENGTH_BYTES = 8;
const MAX_HEADER_BYTES = 100_000_000; // the limit of the reference implementation
const METADATA_KEY = '__metadata__';

const size = z.int().min(0);
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(size),
  data_offsets: z.tuple([size, size]),
});
const metadataSchema = z.record(z.string(), z.string());

/**
 * Reads and checks the header of a file.
 *
 * @throws CheckpointError, naming the file and the fault, if the header is damaged or does not
 * describe the file's bytes exactly.
 */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsReader> {
  const json = await readHeaderJson(source);
  const dataStart = json.end;
  const metadata = metadataSchema.optional().safeParse(json.fields.get(METADATA_KEY));
  if (!metadata.success) fail(source, `${METADATA_KEY} must map text to text`);
  const entries = [...json.fields]
    .filter(([name]) => name !== METADATA_KEY)
    .map(([name, value]) => parseEntry(source, name, value, dataStart))
    .toSorted((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  checkLayout(source, entries, dataStart);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const find = (name: string) =>
    byName.get(name) ?? fail(source, `there is no tensor ${quote(name)}`);
  return {
    entries: byName,
    metadata: new Map(Object.entries(metadata.data ?? {})),
    readFloat32: async (name) => readFloat32(source, find(name)),
    readRaw: async (name) => readRaw(source, find(name)),
  };
}

/**
 * A whole file in chunks: the header, then each tensor. Wider element types come first, so that
 * every tensor is aligned; otherwise the given order holds. Chunks borrow the tensors' memory.
 *
 * @throws CheckpointError if a name occurs twice, a shape does not fit its data, or a finite value
 * is beyond the range of its 16-bit type.
 */
export function* safetensorsChunks(
  tensors: Iterable<SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Generator<Uint8Array> {
  const ordered = [...tensors].toSorted((a, b) => ELEMENT_BYTES[b.dtype] - ELEMENT_BYTES[a.dtype]);
  yield encodeHeader(ordered, metadata);
  for (const tensor of ordered) {
    yield bytesOf(storedArray(tensor));
  }
}

/** A whole file in one array; see `safetensorsChunks`. */
export function encodeSafetensors(
  tensors: Iterable<SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  return concatBytes(safetensorsChunks(tensors, metadata));
}

/** A tensor of a file that is still to be written. */
export type PlannedTensor = Pick<SafetensorsEntry, 'name' | 'dtype' | 'shape'>;

/** All that is known of a file before its values are. */
export interface SafetensorsLayout {
  /** The first bytes of the file, as long as a multiple of the alignment. */
  readonly header: Uint8Array;
  /** In the given order, without gaps. */
  readonly entries: readonly SafetensorsEntry[];
  /** Length of the whole file in bytes. */
  readonly size: number;
}

/**
 * Lays out a file whose tensors are written later, in any order, each at its place.
 *
 * @param alignment - of the first tensor, in bytes; the others follow from their lengths.
 * @throws CheckpointError if a name occurs twice.
 */
export function layOutSafetensors(
  tensors: readonly PlannedTensor[],
  metadata: Readonly<Record<string, string>> = {},
  alignment = LENGTH_BYTES,
): SafetensorsLayout {
  const fields = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) fields.set(METADATA_KEY, metadata);
  let end = 0;
  const spans = tensors.map(({ name, dtype, shape }) => {
    if (fields.has(name)) {
      throw new CheckpointError(
        `The tensor name ${quote(name)} is given twice; names must differ.`,
      );
    }
    const start = end;
    end += shape.reduce((product, length) => product * length, ELEMENT_BYTES[dtype]);
    fields.set(name, { dtype, shape, data_offsets: [start, end] });
    return { name, dtype, shape, start, byteLength: end - start };
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(fields)));
  const dataStart = Math.ceil((LENGTH_BYTES + json.length) / alignment) * alignment;
  const header = new Uint8Array(dataStart).fill(0x20, LENGTH_BYTES); // spaces
  new DataView(header.buffer).setBigUint64(0, BigInt(dataStart - LENGTH_BYTES), true);
  header.set(json, LENGTH_BYTES);
  const entries = spans.map(({ start, ...span }) => ({ ...span, byteOffset: dataStart + start }));
  return { header, entries, size: dataStart + end };
}

function fail(source: ByteSource, fault: string): never {
  throw new CheckpointError(
    `${source.name} is not a valid safetensors file: ${fault}. Copy or download the file again.`,
  );
}

async function readHeaderJson(
  source: ByteSource,
): Promise<{ fields: ReadonlyMap<string, unknown>; end: number }> {
  if (source.size < LENGTH_BYTES) {
    fail(source, `it has ${source.size} bytes, fewer than the ${LENGTH_BYTES} of a header length`);
  }
  const prefix = await source.read(0, LENGTH_BYTES);
  const length = Number(
    new DataView(prefix.buffer, prefix.byteOffset, LENGTH_BYTES).getBigUint64(0, true),
  );
  const allowed = Math.min(source.size - LENGTH_BYTES, MAX_HEADER_BYTES);
  if (length > allowed) {
    fail(source, `its header claims ${length} bytes; at most ${allowed} are possible`);
  }
  const bytes = await source.read(LENGTH_BYTES, length);
  return { fields: parseHeaderJson(source, bytes), end: LENGTH_BYTES + length };
}

function parseHeaderJson(source: ByteSource, bytes: Uint8Array): ReadonlyMap<string, unknown> {
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text);
  } catch {
    fail(source, 'its header is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    fail(source, `its header is ${showValue(json)}, not an object`);
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) fail(source, `the tensor ${quote(repeated)} is listed twice`);
  return new Map(Object.entries(json));
}

/**
 * A key that the outermost object of a valid JSON text holds twice: JSON.parse keeps the last one
 * and says nothing.
 */
function repeatedKey(text: string): string | undefined {
  const seen = new Set<string>();
  let level = 0;
  let previous = ''; // the last of { } [ ] : ,
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (character === '"') {
      const start = i++;
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1;
      if (level !== 1 || previous === ':') continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    } else if ('{}[]:,'.includes(character)) {
      if (character === '{' || character === '[') level++;
      if (character === '}' || character === ']') level--;
      previous = character;
    }
  }
  return undefined;
}

function parseEntry(
  source: ByteSource,
  name: string,
  value: unknown,
  dataStart: number,
): SafetensorsEntry {
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    fail(
      source,
      `the entry of tensor ${quote(name)} is wrong at ${quote(issue?.path.join('.') ?? '')}`,
    );
  }
  const { dtype, shape, data_offsets: offsets } = parsed.data;
  if (!isDtype(dtype)) fail(source, `tensor ${quote(name)} has the unknown type ${quote(dtype)}`);
  const byteLength = shape.reduce((product, length) => product * length, ELEMENT_BYTES[dtype]);
  if (offsets[1] - offsets[0] !== byteLength) {
    fail(
      source,
      `tensor ${quote(name)} spans ${offsets[1] - offsets[0]} bytes but its shape and type need ${byteLength}`,
    );
  }
  return { name, dtype, shape, byteOffset: dataStart + offsets[0], byteLength };
}

function isDtype(dtype: string): dtype is SafetensorsDtype {
  return Object.hasOwn(ELEMENT_BYTES, dtype);
}

/** The tensors must cover the file from the header to its end without gap or overlap. */
function checkLayout(
  source: ByteSource,
  entries: readonly SafetensorsEntry[],
  dataStart: number,
): void {
  let end = dataStart;
  for (const { name, byteOffset, byteLength } of entries) {
    if (byteOffset !== end) {
      const fault =
        byteOffset < end ? 'overlaps the tensor before it' : 'leaves unused bytes before it';
      fail(source, `tensor ${quote(name)} ${fault}`);
    }
    end = byteOffset + byteLength;
  }
  if (end > source.size) {
    fail(source, `it is cut off: the tensors need ${end} bytes and it has ${source.size}`);
  }
  if (end < source.size) fail(source, `${source.size - end} bytes follow the last tensor`);
}

async function readFloat32(source: ByteSource, entry: SafetensorsEntry): Promise<Float32Array> {
  switch (entry.dtype) {
    case 'F32':
      return new Float32Array(await readBuffer(source, entry));
    case 'F64':
      return Float32Array.from(new Float64Array(await readBuffer(source, entry)));
    case 'F16':
      return decodeFloat16(new Uint16Array(await readBuffer(source, entry)));
    case 'BF16':
      return decodeBfloat16(new Uint16Array(await readBuffer(source, entry)));
    default:
      return failDtype(source, entry, 'F32, F16, BF16 or F64');
  }
}

async function readRaw(source: ByteSource, entry: SafetensorsEntry): Promise<RawArray> {
  switch (entry.dtype) {
    case 'F64':
      return new Float64Array(await readBuffer(source, entry));
    case 'F32':
      return new Float32Array(await readBuffer(source, entry));
    case 'F16':
    case 'BF16':
      return new Uint16Array(await readBuffer(source, entry));
    case 'I64':
      return new BigInt64Array(await readBuffer(source, entry));
    case 'I32':
      return new Int32Array(await readBuffer(source, entry));
    case 'U8':
    case 'BOOL':
      return new Uint8Array(await readBuffer(source, entry));
    default:
      return failDtype(source, entry, 'F64, F32, F16, BF16, I64, I32, U8 or BOOL');
  }
}

function failDtype(source: ByteSource, { name, dtype }: SafetensorsEntry, allowed: string): never {
  throw new CheckpointError(
    `${source.name}: tensor ${quote(name)} has type ${dtype}; looplm reads ${allowed} here. Convert the file.`,
  );
}

/** The tensor's bytes in an aligned buffer that nobody else holds. */
async function readBuffer(source: ByteSource, entry: SafetensorsEntry): Promise<ArrayBuffer> {
  const bytes = await source.read(entry.byteOffset, entry.byteLength);
  const isView = bytes.byteLength !== bytes.buffer.byteLength;
  // Not slice(): a Node Buffer is a Uint8Array whose slice() shares its memory.
  return (isView ? new Uint8Array(bytes) : bytes).buffer as ArrayBuffer;
}

function encodeHeader(
  tensors: readonly SafetensorsTensor[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  for (const { name, shape, data } of tensors) {
    const elements = shape.reduce((product, length) => product * length, 1);
    if (elements === data.length) continue;
    throw new CheckpointError(
      `Tensor ${quote(name)} has ${data.length} elements; its shape [${shape.join(', ')}] needs ${elements}.`,
    );
  }
  return layOutSafetensors(tensors, metadata).header;
}

function storedArray(tensor: SafetensorsTensor): ArrayBufferView {
  if (tensor.dtype !== 'F16' && tensor.dtype !== 'BF16') return tensor.data;
  const { name, dtype, data } = tensor;
  const [bits, exponent] =
    dtype === 'F16'
      ? ([encodeFloat16(data), 0x7c00] as const)
      : ([encodeBfloat16(data), 0x7f80] as const);
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & exponent) !== exponent || !Number.isFinite(data[i])) continue;
    throw new CheckpointError(
      `Tensor ${quote(name)} holds ${data[i]}, which is beyond the range of ${dtype}. Save it as F32.`,
    );
  }
  return bits;
}
