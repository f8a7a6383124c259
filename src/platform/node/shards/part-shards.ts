/**
 * The work of a thread: a part of a corpus becomes two shards, one to train on and one held out.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { CorpusOptions, TokenArray } from '../../../data/index.js';
import { corpusTexts, encodeShard, isHeldOut } from '../../../data/index.js';
import { Tokenizer } from '../../../tokenizer/index.js';
import { openFile, writeFileAtomic } from '../files/index.js';
import type { CorpusRange } from './parts.js';

/** What all parts share. */
export interface PartContext extends CorpusOptions {
  /** Where shards go. */
  readonly folder: string;
  /** Text of a tokenizer.json, and the beginning of its SHA-256. */
  readonly tokenizerJson: string;
  readonly tokenizer: string;
  readonly endOfTextId: number;
  readonly tokenBytes: 2 | 4;
  /** Part of the documents that is held out. */
  readonly heldOut: number;
}

export interface PartTask {
  /** Number of the part, which its files are called by. */
  readonly index: number;
  readonly ranges: readonly CorpusRange[];
  readonly sizeBytes: number;
  /** `hash` only tells the hashes of the documents. */
  readonly job: 'hash' | 'write';
  /** 1 for each document that is a copy of an earlier one. */
  readonly isCopy?: Uint8Array | undefined;
}

/** A shard that was written. */
export interface ShardEntry {
  readonly file: string;
  readonly tokens: number;
  readonly documents: number;
  readonly crc32: number;
}

/** What became of a part. */
export interface PartResult {
  /** Undefined where there is nothing in it. */
  readonly train?: ShardEntry | undefined;
  readonly heldOut?: ShardEntry | undefined;
  /** Documents that were left out. */
  readonly empty: number;
  readonly duplicates: number;
}

/** The file that says that a part is done, and what became of it. */
export const partNote = (index: number) => `part-${number5(index)}.json`;
export const isPartNote = (name: string) => /^part-\d+\.json$/.test(name);
const number5 = (index: number) => String(index).padStart(5, '0');

/** Makes the function that a thread runs for each part. */
export function partWorker(
  context: PartContext,
): (task: PartTask) => Promise<PartResult | BigUint64Array> {
  const tokenizer = Tokenizer.fromJson(JSON.parse(context.tokenizerJson));
  return (task) => (task.job === 'hash' ? hashes(context, task) : write(context, tokenizer, task));
}

async function* textsOf(context: PartContext, { ranges }: PartTask) {
  for (const range of ranges) {
    const source = await openFile(range.path);
    const isWhole = range.format !== 'text' || context.separator !== undefined;
    try {
      for await (const text of corpusTexts(source, range.format, range, context)) {
        yield { ...text, isWhole };
      }
    } finally {
      await source.close();
    }
    yield 'end of range' as const;
  }
}

/** The first 64 bits of the SHA-256 of each document. */
async function hashes(context: PartContext, task: PartTask): Promise<BigUint64Array> {
  const found: bigint[] = [];
  for await (const text of textsOf(context, task)) {
    if (text === 'end of range') continue;
    found.push(createHash('sha256').update(text.text).digest().readBigUInt64LE());
  }
  return BigUint64Array.from(found);
}

async function write(
  context: PartContext,
  tokenizer: Tokenizer,
  task: PartTask,
): Promise<PartResult> {
  const { folder, endOfTextId, tokenBytes, heldOut: fraction } = context;
  const train = new ShardBuilder(tokenBytes);
  const heldOut = new ShardBuilder(tokenBytes);
  let [index, empty, duplicates] = [0, 0, 0];
  for await (const found of textsOf(context, task)) {
    if (found === 'end of range') {
      train.endDocument();
      continue;
    }
    const { text, endsDocument, isWhole } = found;
    const isCopy = task.isCopy?.[index++] === 1;
    if (isWhole && text.trim() === '') {
      empty++;
      continue;
    }
    if (isCopy) duplicates++;
    const side = isCopy ? undefined : isHeldOut(text, fraction) ? heldOut : train;
    // What is taken out of a long text ends the stretch before it.
    if (side !== train) train.endDocument();
    if (side === undefined) continue;
    side.add(tokenizer.encode(text, { unencodable: 'replace' }));
    if (endsDocument) side.add([endOfTextId]);
    if (endsDocument || side === heldOut) side.endDocument();
  }
  const result: PartResult = {
    heldOut: await writeShard(heldOut, `held-out-${number5(task.index)}.shard`, context),
    train: await writeShard(train, `train-${number5(task.index)}.shard`, context),
    empty,
    duplicates,
  };
  // Last: when it is there, the shards are.
  await writeFileAtomic(join(folder, partNote(task.index)), JSON.stringify(result));
  return result;
}

async function writeShard(
  builder: ShardBuilder,
  file: string,
  { folder, tokenizer }: PartContext,
): Promise<ShardEntry | undefined> {
  const { tokens, ends } = builder.finish();
  if (ends.length === 0) return undefined;
  const { header, parts } = encodeShard({ tokens, ends, tokenizer });
  await writeFileAtomic(join(folder, file), parts);
  return { file, tokens: header.tokens, documents: header.documents, crc32: header.crc32 };
}

/** Tokens of documents, one after another. */
class ShardBuilder {
  #tokens: TokenArray;
  #length = 0;
  readonly #ends: number[] = [];

  constructor(tokenBytes: 2 | 4) {
    this.#tokens = tokenBytes === 2 ? new Uint16Array(2 ** 16) : new Uint32Array(2 ** 16);
  }

  add(ids: readonly number[]): void {
    const needed = this.#length + ids.length;
    if (needed > this.#tokens.length) {
      const Kind = this.#tokens.constructor as new (length: number) => TokenArray;
      const larger = new Kind(Math.max(needed, 2 * this.#tokens.length));
      larger.set(this.#tokens);
      this.#tokens = larger;
    }
    this.#tokens.set(ids, this.#length);
    this.#length = needed;
  }

  /** Ends a document; one of a single token predicts nothing and is dropped. */
  endDocument(): void {
    const start = this.#ends.at(-1) ?? 0;
    if (this.#length - start >= 2) this.#ends.push(this.#length);
    else this.#length = start;
  }

  finish(): { readonly tokens: TokenArray; readonly ends: Uint32Array<ArrayBuffer> } {
    return { tokens: this.#tokens.subarray(0, this.#length), ends: Uint32Array.from(this.#ends) };
  }
}
