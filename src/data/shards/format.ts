/**
 * The file of tokenised text, a shard: a checked header, the tokens, and where documents end.
 *
 * Little-endian, so that a file can be mapped as it is:
 *
 *   0  8 bytes  "LOOPTOK" and a zero byte
 *   8  u32      version, 1
 *  12  u32      bytes of a token, 2 or 4
 *  16  u64      number of tokens, below 2^32
 *  24  u64      number of documents
 *  32  16 bytes beginning of the SHA-256 of the tokenizer.json, in hexadecimal digits
 *  48  u32      CRC-32 of all that follows the header
 *  52  8 bytes  zero
 *  60  u32      CRC-32 of the 60 bytes before
 *  64           tokens; zeros up to a multiple of 4; for each document the number of tokens up to
 *               and with its last one, u32
 *
 * It knows nothing of how files are read or written.
 */
import { FileError } from '../../errors.js';
import { crc32 } from '../../util/crc32.js';

export const SHARD_HEADER_BYTES = 64;
const MAGIC = 'LOOPTOK\0';
const VERSION = 1;
const CHECKED_BYTES = 60;

/** Tokens of 16 bits where the vocabulary allows it. */
export type TokenArray = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

export interface ShardHeader {
  readonly tokenBytes: 2 | 4;
  readonly tokens: number;
  readonly documents: number;
  /** The first 16 hexadecimal digits of the SHA-256 of the tokenizer.json. */
  readonly tokenizer: string;
  readonly crc32: number;
}

export interface ShardContent {
  readonly tokens: TokenArray;
  /** For each document the number of tokens up to and with its last one. */
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly tokenizer: string;
}

/** Where the document ends begin. */
export function endsOffset({ tokenBytes, tokens }: ShardHeader): number {
  return SHARD_HEADER_BYTES + 4 * Math.ceil((tokens * tokenBytes) / 4);
}

/** Size of the file in bytes. */
function shardSize(header: ShardHeader): number {
  return endsOffset(header) + 4 * header.documents;
}

/** A shard as the parts of its file, and its header. */
export function encodeShard({ tokens, ends, tokenizer }: ShardContent): {
  readonly header: ShardHeader;
  readonly parts: readonly Uint8Array[];
} {
  const tokenBytes = tokens.BYTES_PER_ELEMENT as 2 | 4;
  const body = [
    new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength),
    new Uint8Array(-tokens.byteLength & 3),
    new Uint8Array(ends.buffer, ends.byteOffset, ends.byteLength),
  ];
  const header: ShardHeader = {
    tokenBytes,
    tokens: tokens.length,
    documents: ends.length,
    tokenizer,
    crc32: body.reduce((crc, bytes) => crc32(bytes, crc), 0),
  };
  return { header, parts: [encodeHeader(header), ...body] };
}

function encodeHeader(header: ShardHeader): Uint8Array {
  const bytes = new Uint8Array(SHARD_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  const ascii = new TextEncoder();
  bytes.set(ascii.encode(MAGIC), 0);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, header.tokenBytes, true);
  view.setBigUint64(16, BigInt(header.tokens), true);
  view.setBigUint64(24, BigInt(header.documents), true);
  bytes.set(ascii.encode(header.tokenizer), 32);
  view.setUint32(48, header.crc32, true);
  view.setUint32(CHECKED_BYTES, crc32(bytes.subarray(0, CHECKED_BYTES)), true);
  return bytes;
}

/**
 * The header of a shard.
 *
 * @param bytes - the first `SHARD_HEADER_BYTES` of the file, or all there are.
 * @param size - of the file in bytes.
 * @throws FileError if it is no shard, of another version, damaged, or of another size than it says.
 */
export function parseShardHeader(bytes: Uint8Array, path: string, size: number): ShardHeader {
  const fail = (problem: string): never => {
    throw new FileError(path, `${path} ${problem}. Make it again with looplm tokenize.`);
  };
  const magic = new TextDecoder('latin1').decode(bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC) fail('is no shard of tokens');
  if (bytes.length < SHARD_HEADER_BYTES) fail(`has ${size} bytes and ends within its header`);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (view.getUint32(CHECKED_BYTES, true) !== crc32(bytes.subarray(0, CHECKED_BYTES))) {
    fail('is damaged: its header does not have its checksum');
  }
  const version = view.getUint32(8, true);
  if (version !== VERSION) fail(`is a shard of version ${version}; this looplm reads ${VERSION}`);
  const header: ShardHeader = {
    tokenBytes: view.getUint32(12, true) as 2 | 4,
    tokens: Number(view.getBigUint64(16, true)),
    documents: Number(view.getBigUint64(24, true)),
    tokenizer: new TextDecoder().decode(bytes.subarray(32, 48)),
    crc32: view.getUint32(48, true),
  };
  const wanted = shardSize(header);
  if (wanted !== size) fail(`has ${size} bytes, and its header says ${wanted}`);
  return header;
}
