/**
 * The little of the Protocol Buffers wire format that writing an ONNX model needs.
 * Source: protobuf.dev, "Encoding".
 */

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** Longer byte strings are borrowed until `finish`; shorter ones are copied together. */
const COPY_LIMIT_BYTES = 1024;

const encoder = new TextEncoder();

/** One message under construction; fields are written in the order of the calls. */
export class MessageWriter {
  readonly #chunks: Uint8Array[] = [];
  /** Bytes after the last chunk. */
  #tail: number[] = [];
  #sizeBytes = 0;

  /** An integer field; negative numbers take ten bytes, as the format wants. */
  int(field: number, value: number | bigint): this {
    this.#tag(field, VARINT);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#tag(field, FIXED32);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#append(bytes);
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, encoder.encode(value));
  }

  /** A bytes field. The array is borrowed until `finish`. */
  bytes(field: number, value: Uint8Array): this {
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(value.byteLength);
    this.#append(value);
    return this;
  }

  message(field: number, build: (writer: MessageWriter) => void): this {
    const inner = new MessageWriter();
    build(inner);
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(inner.#sizeBytes);
    for (const chunk of inner.#chunks) this.#append(chunk);
    this.#append(inner.#tail);
    return this;
  }

  finish(): Uint8Array {
    const result = new Uint8Array(this.#sizeBytes);
    let offset = 0;
    for (const chunk of [...this.#chunks, this.#tail]) {
      result.set(chunk, offset);
      offset += chunk.length;
    }
    return result;
  }

  #tag(field: number, wireType: number): void {
    this.#varint(field * 8 + wireType);
  }

  /** Groups of seven bits, the lowest first; the top bit says that more follow. */
  #varint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 0x7fn; rest >>= 7n) this.#byte(Number(rest & 0x7fn) | 0x80);
    this.#byte(Number(rest));
  }

  #byte(value: number): void {
    this.#tail.push(value);
    this.#sizeBytes++;
  }

  #append(bytes: Uint8Array | number[]): void {
    this.#sizeBytes += bytes.length;
    if (bytes.length <= COPY_LIMIT_BYTES) {
      for (const byte of bytes) this.#tail.push(byte);
      return;
    }
    this.#chunks.push(
      Uint8Array.from(this.#tail),
      bytes instanceof Uint8Array ? bytes : Uint8Array.from(bytes),
    );
    this.#tail = [];
  }
}
