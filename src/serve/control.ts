/**
 * Standing still, going on, and other weights, as trainers ask for them: one of these at a time.
 */
import { FileError, LoopLMError } from '../errors.js';
import type { Admission } from './admission.js';
import { badRequest } from './errors.js';
import type { ServedModel } from './served-model.js';
import type { TrainerSettings } from './options.js';
import type { PauseMode } from './wire/trainers.js';

/** Requests that compute, each of which can be ended with what it has. */
export class RunningRequests {
  readonly #ends = new Set<() => void>();

  /** @returns what is called once it has ended */
  add(end: () => void): () => void {
    this.#ends.add(end);
    return () => void this.#ends.delete(end);
  }

  endAll(): void {
    for (const end of this.#ends) end();
  }
}

export class Control {
  readonly #model: ServedModel;
  readonly #admission: Admission;
  readonly #running: RunningRequests;
  #last: Promise<unknown> = Promise.resolve();

  constructor(model: ServedModel, admission: Admission, running: RunningRequests) {
    this.#model = model;
    this.#admission = admission;
    this.#running = running;
  }

  get isPaused(): boolean {
    return this.#model.stats.isPaused;
  }

  /** Nothing is computed from the moment this resolves; new requests wait. */
  pause(mode: PauseMode, clearsCache: boolean): Promise<void> {
    return this.#inTurn(async () => {
      const idle = this.#admission.hold();
      if (mode === 'abort') this.#running.endAll();
      if (mode !== 'keep') await idle;
      await this.#model.pause();
      if (clearsCache) this.#model.clearPrefixes();
    });
  }

  resume(): void {
    if (this.isPaused) this.#model.resume();
    this.#admission.goOn();
  }

  /**
   * Takes the weights of a folder, all of them between two steps.
   *
   * @returns their version
   * @throws ApiError 400 for a folder that is not finished, or not of this model
   */
  update(path: string, { openFolder }: TrainerSettings, mode: 'keep' | 'abort'): Promise<number> {
    return this.#inTurn(async () => {
      try {
        const folder = await openFolder(path);
        if (!(await folder.exists(STABLE))) {
          throw new FileError(
            path,
            `The folder ${path} has no file ${STABLE}, which says that all others are written; write it last.`,
          );
        }
        if (mode === 'abort') this.#running.endAll();
        return await this.#model.updateWeights(folder);
      } catch (error) {
        if (!(error instanceof LoopLMError)) throw error;
        throw badRequest('weight_dir', error.message);
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** The file that prime-rl writes last into a folder of weights. */
const STABLE = 'STABLE';
