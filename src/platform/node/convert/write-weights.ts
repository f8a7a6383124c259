/**
 * Fills the weight file of a conversion: the header, then every piece at its place, in any order.
 *
 * What an earlier run of the same conversion left is kept where the journal and its checksums vouch
 * for it.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileError } from '../../../errors.js';
import type { QuantizationMethod } from '../../../model/index.js';
import { CONVERTED_WEIGHTS } from '../../../model/index.js';
import type { NewFolder } from '../files/index.js';
import { failWrite } from '../files/index.js';
import type { TaskPoolOptions } from '../task-pool.js';
import { runTasks } from '../task-pool.js';
import { Journal } from './journal.js';
import type { Piece, PieceContext, PieceResult } from './piece.js';
import type { ConversionPlan } from './plan.js';
import { threadEntry } from '../thread-entry.js';

/** How far a conversion is, in bytes of the source's weights. */
export interface ConversionProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** What is to be written. */
export interface WeightsToWrite {
  readonly plan: ConversionPlan;
  /** Says what is converted and how. */
  readonly key: string;
  readonly method: QuantizationMethod;
  readonly importance: ReadonlyMap<string, Float32Array>;
}

/**
 * Writes the weight file of an unfinished conversion and flushes it.
 *
 * @returns what was noted of each piece of the plan.
 * @throws as `convertModel` does.
 */
export async function writeWeights(
  { plan, key, method, importance }: WeightsToWrite,
  { model, journal: journalPath }: NewFolder,
  options: TaskPoolOptions & { readonly progress?: (progress: ConversionProgress) => void },
): Promise<PieceResult[]> {
  const path = join(model, CONVERTED_WEIGHTS);
  const weights = await openWeights(path, plan.layout);
  let journal: Journal | undefined;
  try {
    journal = await Journal.open(journalPath, key, weights);
    const results = await convertPieces(plan, journal, { path, method, importance }, options);
    await journal.settle();
    await weights.sync().catch((cause: unknown) => failWrite(path, cause));
    return results;
  } finally {
    await journal?.close();
    await weights.close();
  }
}

async function convertPieces(
  { pieces }: ConversionPlan,
  journal: Journal,
  context: PieceContext,
  { progress, ...pool }: Parameters<typeof writeWeights>[2],
): Promise<PieceResult[]> {
  const totalBytes = pieces.reduce((sum, piece) => sum + sourceBytes(piece), 0);
  let doneBytes = 0;
  const onResult = (result: PieceResult, piece: Piece) => {
    if (result.sha256 !== piece.known?.sha256) journal.note(piece.index, result);
    doneBytes += sourceBytes(piece);
    progress?.({ doneBytes, totalBytes });
  };
  const tasks = pieces.map((piece): Piece => {
    const known = journal.known.get(piece.index);
    return known ? { ...piece, known } : piece;
  });
  return runTasks(threadEntry('convert-worker'), context, tasks, onResult, pool);
}

function sourceBytes({ rows, columns, source }: Piece): number {
  return rows * columns * (source.dtype === 'f32' ? 4 : 2);
}

/** The file at its full length with its header; what it holds of an earlier run stays. */
async function openWeights(
  path: string,
  { header, size }: ConversionPlan['layout'],
): Promise<FileHandle> {
  const onFailure = (cause: unknown) => failWrite(path, cause);
  // Neither 'r+' nor 'w' does: make it if it is missing, keep what it holds.
  await (await open(path, 'a').catch(onFailure)).close();
  const file = await open(path, 'r+').catch(onFailure);
  try {
    await checkSpace(path, file, size);
    await file.truncate(size).catch(onFailure);
    await file.write(header, 0, header.length, 0).catch(onFailure);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function checkSpace(path: string, file: FileHandle, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(dirname(path));
  const { blocks } = await file.stat();
  const needed = size - 512 * blocks; // of 512 bytes whatever the file system
  if (needed <= bavail * bsize) return;
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  throw new FileError(
    path,
    `${path} needs ${megabytes(needed)} MB and the disk has ${megabytes(bavail * bsize)} MB free. Free some space or use another path.`,
  );
}
