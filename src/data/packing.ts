/**
 * Packing of documents into the rows of a batch.
 *
 * The one idea: first fit. A document goes to the first row that still has room for all of it, so
 * little is padding and the result depends on the order of the documents alone.
 * Does not know how documents are made, nor what a loss does with them.
 */
import { ConfigError, ShapeError } from '../errors.js';
import type { TrainingBatch, TrainingDocument } from './batch.js';
import { IGNORED_TARGET } from './batch.js';

/** Size and padding of the batch to fill. */
export interface PackingOptions {
  /** Number of rows, B. */
  readonly rows: number;
  /** Positions of a row, T. */
  readonly length: number;
  /** Token id written where no document is. */
  readonly padId: number;
}

/** A filled batch and what is missing from it. */
export interface PackedDocuments {
  readonly batch: TrainingBatch;
  /** Indices of the documents that found no room, in order. */
  readonly leftOver: readonly number[];
}

/**
 * Packs documents into one batch, first fit, in the given order.
 *
 * @returns the batch, and which documents did not fit.
 * @throws ConfigError if `rows` or `length` is not a positive integer.
 * @throws ShapeError if a document is empty or its targets have another length than its ids.
 */
export function packDocuments(
  documents: readonly TrainingDocument[],
  options: PackingOptions,
): PackedDocuments {
  const packer = new BatchPacker(options);
  const leftOver: number[] = [];
  documents.forEach((document, documentIndex) => {
    if (packer.add(document) === undefined) leftOver.push(documentIndex);
  });
  return { batch: packer.batch, leftOver };
}

/** A batch that is being filled. `batch` may be taken at any time; it is not copied. */
export class BatchPacker {
  readonly #extra: Record<string, Float32Array | Int32Array> = {};
  readonly batch: TrainingBatch;
  private readonly used: Int32Array; // [B] positions taken in each row
  private readonly numSegments: Int32Array; // [B]

  constructor({ rows, length, padId }: PackingOptions) {
    checkBatchSize(rows, length);
    const size = rows * length;
    this.batch = {
      rows,
      length,
      ids: new Int32Array(size).fill(padId),
      targets: new Int32Array(size).fill(IGNORED_TARGET),
      segments: new Int32Array(size),
      positions: new Int32Array(size),
      seenUntil: new Int32Array(size).fill(length),
      extra: this.#extra,
    };
    this.used = new Int32Array(rows);
    this.numSegments = new Int32Array(rows);
  }

  /**
   * Places a document as one segment, in the first row with room for all of it.
   *
   * @returns where it begins in the batch, row-major; undefined if there was none.
   * @throws ShapeError if it is empty or its targets have another length than its ids.
   */
  add(document: TrainingDocument): number | undefined {
    checkDocument(document);
    const { ids, targets, segments, positions, seenUntil, length } = this.batch;
    const count = document.ids.length;
    const row = this.used.findIndex((taken) => taken + count <= length);
    if (row < 0) return undefined;
    const segment = (this.numSegments[row] ?? 0) + 1;
    const start = this.used[row]!;
    const offset = row * length + start;
    ids.set(document.ids, offset);
    targets.set(document.targets, offset);
    segments.fill(segment, offset, offset + count);
    for (let position = 0; position < count; position++) {
      positions[offset + position] = document.branches?.positions[position] ?? position;
      seenUntil![offset + position] = start + (document.branches?.seenUntil[position] ?? count);
    }
    for (const [name, values] of Object.entries(document.extra ?? {})) {
      this.#extra[name] ??= new (values.constructor as typeof Float32Array)(ids.length);
      this.#extra[name].set(values, offset);
    }
    this.used[row]! += count;
    this.numSegments[row] = segment;
    return offset;
  }
}

/**
 * Refuses a batch that has no positions.
 *
 * @throws ConfigError if `rows` or `length` is not a positive integer.
 */
export function checkBatchSize(rows: number, length: number): void {
  for (const [field, value] of Object.entries({ rows, length })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new ConfigError(field, `${field} is ${value}; it must be a whole number of at least 1.`);
  }
}

function checkDocument({ ids, targets, extra = {}, branches }: TrainingDocument): void {
  if (ids.length === 0) {
    throw new ShapeError('A document has 0 tokens; it needs at least 1. Leave empty ones out.');
  }
  if (ids.length !== targets.length) {
    throw new ShapeError(
      `A document has ${ids.length} ids and ${targets.length} targets; it needs one target for ` +
        `each id. Use ${IGNORED_TARGET} where nothing is counted.`,
    );
  }
  for (const [name, values] of Object.entries({ ...extra, ...branches })) {
    if (values.length === ids.length) continue;
    throw new ShapeError(
      `A document has ${ids.length} ids and ${values.length} numbers as "${name}"; it needs one for each id.`,
    );
  }
}
