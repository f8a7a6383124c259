/** Who draws the rollouts of a run: an engine beside the trainer here, or workers on other machines. */
import { Engine } from '../engine/index.js';
import { assert } from '../errors.js';
import type { ResidentWeights } from '../runtime/index.js';
import type { PolicyMoment } from '../train/index.js';
import type { GroupAnswer, GroupRequest } from './answers.js';
import { drawAnswers } from './answers.js';

export interface RolloutProvider {
  /** Takes the weights before an update: what is asked for from now on is drawn by them, or newer ones. */
  useWeights(moment: PolicyMoment): Promise<void>;
  /** Asks for the answers of an update, once. */
  ask(trainStep: number, groups: readonly GroupRequest[]): Promise<void>;
  /**
   * The answers of an update that were asked for, in any order.
   *
   * @throws the signal's reason when it aborts
   */
  answers(trainStep: number, signal: AbortSignal | undefined): AsyncIterable<GroupAnswer>;
  /** Forgets what was asked for: the run goes back, or begins. */
  forget(): void;
  /** Frees what it has. Weights may be given again. */
  release(): Promise<void>;
}

/** Draws on the trainer's device, with its weights in the buffers where they are. */
export class LocalRollouts implements RolloutProvider {
  readonly #asked = new Map<number, readonly GroupRequest[]>();
  #weights: ResidentWeights | undefined;
  #engine: Engine | undefined;

  async useWeights({ weights, model }: PolicyMoment): Promise<void> {
    if (this.#weights === weights) return;
    await this.release();
    this.#engine = await Engine.create({ device: weights.device, config: model, weights });
    this.#weights = weights;
  }

  async ask(trainStep: number, groups: readonly GroupRequest[]): Promise<void> {
    this.#asked.set(trainStep, groups);
  }

  async *answers(trainStep: number, signal: AbortSignal | undefined): AsyncGenerator<GroupAnswer> {
    const groups = this.#asked.get(trainStep);
    assert(groups && this.#engine, 'answers are asked for, and there are weights');
    this.#asked.delete(trainStep);
    yield* drawAnswers(this.#engine, groups, signal);
  }

  forget(): void {
    this.#asked.clear();
  }

  async release(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#weights = undefined;
    await engine?.dispose();
  }
}
