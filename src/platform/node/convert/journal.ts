/**
 * Which pieces of an unfinished file are safe on disk: one line for each, with its checksum.
 *
 * A line is written after the piece's bytes are flushed, so whenever a run ends, what the journal
 * lists is there. The reader checks it all the same. It does not know what the pieces are.
 */
import type { FileHandle } from 'node:fs/promises';
import { open, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { failRead, failWrite } from '../files/index.js';
import type { PieceResult } from './piece.js';

const lineSchema = z.object({
  piece: z.int().min(0),
  sha256: z.string(),
  error: z.number(),
  total: z.number(),
});

/** The journal of one file; open both, note pieces, settle, close. */
export class Journal {
  /** Of earlier runs, by the number of the piece. */
  readonly known: ReadonlyMap<number, PieceResult>;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #weights: FileHandle;
  readonly #pending: string[] = [];
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    path: string,
    file: FileHandle,
    weights: FileHandle,
    known: ReadonlyMap<number, PieceResult>,
  ) {
    this.#path = path;
    this.#file = file;
    this.#weights = weights;
    this.known = known;
  }

  /**
   * Opens a journal, or begins it. One that was kept for another key is begun anew.
   *
   * @param key - says what is converted and how; one line.
   * @param weights - the file whose pieces are noted; it is flushed before each note.
   * @throws FileError if it cannot be read or written.
   */
  static async open(path: string, key: string, weights: FileHandle): Promise<Journal> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' ? '' : failRead(path, error),
    );
    const [first, ...lines] = text.split('\n');
    const isOurs = first === key;
    const onFailure = (cause: unknown) => failWrite(path, cause);
    const file = await open(path, isOurs ? 'a' : 'w').catch(onFailure);
    // An earlier run may have ended within a line.
    await file.appendFile(isOurs ? '\n' : `${key}\n`).catch(onFailure);
    return new Journal(path, file, weights, isOurs ? parseLines(lines) : new Map());
  }

  /** Notes a piece that is written; returns at once. */
  note(piece: number, { sha256, error, total }: PieceResult): void {
    const isIdle = this.#pending.length === 0;
    this.#pending.push(`${JSON.stringify({ piece, sha256, error, total })}\n`);
    // One flush serves all pieces that were written while the last one went on.
    if (isIdle) {
      this.#writing = this.#writing.then(() => this.#write());
      this.#writing.catch(() => {}); // `settle` tells
    }
  }

  /** Waits until all that was noted is on disk. @throws FileError if it could not be written. */
  async settle(): Promise<void> {
    await this.#writing;
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => {});
    await this.#file.close();
  }

  async #write(): Promise<void> {
    const lines = this.#pending.splice(0);
    try {
      await this.#weights.datasync();
      await this.#file.appendFile(lines.join(''));
    } catch (cause) {
      failWrite(this.#path, cause);
    }
  }
}

/** Lines that are not whole are as if they were not there. */
function parseLines(lines: readonly string[]): Map<number, PieceResult> {
  const known = new Map<number, PieceResult>();
  for (const line of lines) {
    try {
      const { piece, ...result } = lineSchema.parse(JSON.parse(line));
      known.set(piece, result);
    } catch {
      continue;
    }
  }
  return known;
}
