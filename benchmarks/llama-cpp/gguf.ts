/**
 * GGUF files as a sequence of pieces: metadata, the table of tensors, then their bytes.
 *
 * A tensor is a function that yields its bytes in pieces, so a file of any size needs the memory of
 * one piece. Knows the container and nothing about models or number formats.
 * Source: ggml-org/ggml, docs/gguf.md (version 3, little endian).
 */

/** A metadata value; the kind of number is said, because GGUF distinguishes them. */
export type GgufValue =
  | { readonly kind: 'uint32' | 'float32'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'int32s'; readonly value: readonly number[] };

export interface GgufTensor {
  readonly name: string;
  /** Innermost first: a matrix [out, in] has the dimensions [in, out] here. */
  readonly dimensions: readonly number[];
  /** Number of the type in ggml's enumeration. */
  readonly type: number;
  readonly sizeBytes: number;
  /** The `sizeBytes` bytes in order; a piece may be overwritten once the next one is asked for. */
  bytes(): Iterable<Uint8Array>;
}

const VERSION = 3;
const ALIGNMENT = 32;
const VALUE_TYPES = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 } as const;

/** A growing little-endian byte string. */
class Header {
  readonly #parts: Buffer[] = [];

  number(kind: 'uint32' | 'float32' | 'uint64', value: number): void {
    const part = Buffer.alloc(kind === 'uint64' ? 8 : 4);
    if (kind === 'uint64') part.writeBigUInt64LE(BigInt(value));
    else if (kind === 'uint32') part.writeUInt32LE(value);
    else part.writeFloatLE(value);
    this.#parts.push(part);
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.number('uint64', bytes.length);
    this.#parts.push(bytes);
  }

  value({ kind, value }: GgufValue): void {
    const isArray = kind === 'strings' || kind === 'int32s';
    this.number('uint32', VALUE_TYPES[isArray ? 'array' : kind]);
    if (kind === 'string') return this.text(value);
    if (!isArray) return this.number(kind, value);
    this.number('uint32', kind === 'strings' ? VALUE_TYPES.string : VALUE_TYPES.int32);
    this.number('uint64', value.length);
    if (kind === 'strings') value.forEach((text) => this.text(text));
    else this.#parts.push(Buffer.from(new Int32Array(value).buffer));
  }

  padded(): Buffer {
    const all = Buffer.concat(this.#parts);
    return Buffer.concat([all, Buffer.alloc(padding(all.length))]);
  }
}

function padding(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

function headerOf(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Buffer {
  const header = new Header();
  header.number('uint32', Buffer.from('GGUF').readUInt32LE());
  header.number('uint32', VERSION);
  header.number('uint64', tensors.length);
  header.number('uint64', Object.keys(metadata).length);
  for (const [key, entry] of Object.entries(metadata)) {
    header.text(key);
    header.value(entry);
  }
  let offset = 0;
  for (const { name, dimensions, type, sizeBytes } of tensors) {
    header.text(name);
    header.number('uint32', dimensions.length);
    for (const size of dimensions) header.number('uint64', size);
    header.number('uint32', type);
    header.number('uint64', offset);
    offset += sizeBytes + padding(sizeBytes);
  }
  return header.padded();
}

/** The bytes of the file, piece by piece. */
export function* ggufFile(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Iterable<Uint8Array> {
  yield headerOf(metadata, tensors);
  for (const tensor of tensors) {
    yield* tensor.bytes();
    yield Buffer.alloc(padding(tensor.sizeBytes));
  }
}
