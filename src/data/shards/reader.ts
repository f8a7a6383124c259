/**
 * Reads shards of tokens by ranges: of a shard only its document ends stay in memory.
 */
import { FileError } from '../../errors.js';
import { crc32 } from '../../util/crc32.js';
import type { TrainingDocument } from '../batch.js';
import type { ShardHeader, TokenArray } from './format.js';
import { SHARD_HEADER_BYTES, endsOffset, parseShardHeader } from './format.js';

/** A file of which parts are read at once, from the system's cache or a mapping. */
export interface RangeReader {
  /** What to call the file in messages. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Bytes `[offset, offset + length)`, which lie inside the file, in a new buffer. */
  read(offset: number, length: number): Uint8Array<ArrayBuffer>;
}

/** An open shard. */
export class Shard {
  readonly name: string;
  readonly header: ShardHeader;
  readonly #file: RangeReader;
  readonly #ends: Uint32Array;

  /** @throws FileError if the file is no shard, or its header or its document ends are damaged */
  constructor(file: RangeReader) {
    const head = file.read(0, Math.min(file.size, SHARD_HEADER_BYTES));
    const header = parseShardHeader(head, file.name, file.size);
    this.name = file.name;
    this.header = header;
    this.#file = file;
    this.#ends = new Uint32Array(file.read(endsOffset(header), 4 * header.documents).buffer);
    const isRising = this.#ends.every((end, index) => end > (this.#ends[index - 1] ?? 0));
    if (isRising && (this.#ends.at(-1) ?? 0) === header.tokens) return;
    throw new FileError(
      file.name,
      `${file.name} is damaged: its documents do not cover its tokens. Make it again with looplm tokenize.`,
    );
  }

  get numDocuments(): number {
    return this.#ends.length;
  }

  /** Number of tokens of a document. */
  lengthOf(document: number): number {
    return this.#ends[document]! - (this.#ends[document - 1] ?? 0);
  }

  /** `count` tokens of a document, from one of them on. */
  read(document: number, first: number, count: number): TokenArray {
    const { tokenBytes } = this.header;
    const start = (this.#ends[document - 1] ?? 0) + first;
    const { buffer } = this.#file.read(SHARD_HEADER_BYTES + start * tokenBytes, count * tokenBytes);
    return tokenBytes === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer);
  }

  /** A stretch of positions of a document, each of which predicts the next token. */
  nextTokenDocument(document: number, first: number, positions: number): TrainingDocument {
    const tokens = Int32Array.from(this.read(document, first, positions + 1));
    return { ids: tokens.subarray(0, -1), targets: tokens.subarray(1) };
  }

  /**
   * Reads all of it once.
   *
   * @throws FileError if its checksum is another one, or a token lies outside the vocabulary.
   */
  verify(vocabSize: number): void {
    const { crc32: wanted, tokenBytes, tokens } = this.header;
    let crc = 0;
    let largest = 0;
    for (let at = SHARD_HEADER_BYTES; at < this.#file.size; at += VERIFIED_BYTES) {
      const bytes = this.#file.read(at, Math.min(VERIFIED_BYTES, this.#file.size - at));
      crc = crc32(bytes, crc);
      const count = Math.min(bytes.length, SHARD_HEADER_BYTES + tokens * tokenBytes - at);
      if (count <= 0) continue;
      const part = bytes.buffer.slice(0, count);
      const values = tokenBytes === 2 ? new Uint16Array(part) : new Uint32Array(part);
      for (const value of values) largest = Math.max(largest, value);
    }
    const fault =
      crc !== wanted
        ? 'its content does not have its checksum'
        : largest >= vocabSize && `it holds token ${largest}, and there are ${vocabSize}`;
    if (!fault) return;
    throw new FileError(
      this.name,
      `${this.name} is damaged: ${fault}. Make it again with looplm tokenize.`,
    );
  }
}

const VERIFIED_BYTES = 2 ** 22;
