/**
 * What runs came to, in a file: a measurement of half an hour that is stopped goes on after those that
 * are done.
 */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileExists, readTextFile, writeFileAtomic } from 'looplm/node';

export class KeptRuns {
  readonly #path: string;
  readonly #figures: Map<string, unknown>;

  private constructor(path: string, figures: Map<string, unknown>) {
    this.#path = path;
    this.#figures = figures;
  }

  /**
   * The runs of one measurement.
   *
   * @param of - all that their figures depend on; the file is named by it
   * @param folder - default: `.cache`
   */
  static async open(of: readonly unknown[], folder = resolve('.cache')): Promise<KeptRuns> {
    const id = createHash('sha256').update(JSON.stringify(of)).digest('hex').slice(0, 16);
    const path = join(folder, `evaluation-${id}.json`);
    if (!(await fileExists(path))) return new KeptRuns(path, new Map());
    const entries = Object.entries(JSON.parse(await readTextFile(path)) as object);
    console.log(`Going on after ${entries.length} runs of ${path}. Remove it to begin anew.`);
    return new KeptRuns(path, new Map(entries));
  }

  /** What a run came to: from the file, or measured now and kept. */
  async figures<T>(name: string, measure: () => Promise<T>): Promise<T> {
    if (this.#figures.has(name)) return this.#figures.get(name) as T;
    const measured = await measure();
    this.#figures.set(name, measured);
    await writeFileAtomic(this.#path, JSON.stringify(Object.fromEntries(this.#figures), null, 1));
    return measured;
  }

  /** Forgets the runs, when what they were for is written. */
  remove(): Promise<void> {
    return rm(this.#path, { force: true });
  }
}
