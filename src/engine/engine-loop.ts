/**
 * The loop of an engine: schedule, run, observe, emit.
 *
 * Each turn is one step of the model for whatever is ready: prompt pieces, tokens at any depth,
 * deferred loops. Requests join and leave between steps; one that fails ends alone. The loop runs
 * while there is something to do and sleeps otherwise.
 * Source: docs/architecture.md (engine).
 */
import { CapacityError } from '../errors.js';
import { poolIsFull } from './cache/page-pool.js';
import type { Readout } from './runner/model-ends.js';
import type { ModelRunner, StepRow } from './runner/model-runner.js';
import { resultOf } from './runner/model-runner.js';
import type { Plan, Planned, SchedulerLimits } from './scheduler/scheduler.js';
import { Scheduler, SMALL_ROWS } from './scheduler/scheduler.js';
import type { FinishReason } from './rollout.js';
import type { Sequence, Watched } from './sequence.js';
import type { StepCost } from './speculation/step-cost.js';

const NOTHING: Plan<Sequence> = { works: [] };

/** A token whose loop a step runs and whose policy is then asked. */
interface Observed extends Omit<Watched, 'offset'> {
  readonly item: Sequence;
  /** Its row in the step. */
  readonly row: number;
}

/** What a step ran. */
export interface StepReport {
  /** Rows of each loop, by loop index. */
  readonly rowsByLoop: readonly number[];
  readonly milliseconds: number;
}

export class EngineLoop {
  readonly #runner: ModelRunner;
  readonly #scheduler: Scheduler<Sequence>;
  readonly #cost: StepCost;
  readonly #sequences = new Set<Sequence>();
  readonly #stepListeners = new Set<(report: StepReport) => void>();
  #weightsVersion = 0;
  #numPromptTokens = 0;
  #numCachedTokens = 0;
  #isPaused = false;
  #stepping: Promise<void> = Promise.resolve();
  #turning: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #end: unknown;

  /** @param cost - learns what steps cost */
  constructor(runner: ModelRunner, limits: SchedulerLimits, cost: StepCost) {
    this.#runner = runner;
    this.#cost = cost;
    this.#scheduler = new Scheduler(limits, runner.pages);
  }

  /** Sequences that gave up their pages for others, so far. */
  get numPreemptions(): number {
    return this.#scheduler.numPreemptions;
  }

  /** Requests that have begun, those included whose readers are behind. */
  get numRunning(): number {
    return this.#scheduler.numRunning;
  }

  get numWaiting(): number {
    return this.#scheduler.numWaiting;
  }

  /** Prompt tokens of the requests that have ended. */
  get numPromptTokens(): number {
    return this.#numPromptTokens;
  }

  /** Those of them that were taken over from others. */
  get numCachedTokens(): number {
    return this.#numCachedTokens;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Runs nothing more, so that requests stay where they are; returns once nothing runs. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#stepping;
  }

  resume(): void {
    this.#isPaused = false;
    this.wake();
  }

  /** @returns what ends it */
  onStep(listener: (report: StepReport) => void): () => void {
    this.#stepListeners.add(listener);
    return () => void this.#stepListeners.delete(listener);
  }

  /** Takes a request in; its events go to its sink. */
  add(sequence: Sequence): void {
    if (this.#end !== undefined) return sequence.sink.fail(this.#end);
    this.#sequences.add(sequence);
    this.#scheduler.add(sequence);
    sequence.request.signal?.addEventListener('abort', this.wake);
    this.#turning ??= this.#turn();
    this.wake();
  }

  /** Forgets a request that nobody listens to any more. */
  cancel(sequence: Sequence): void {
    if (!this.#sequences.delete(sequence)) return;
    this.#scheduler.remove(sequence);
    sequence.release();
    sequence.request.signal?.removeEventListener('abort', this.wake);
    this.wake();
  }

  /** Looks again whether something can run. */
  readonly wake = (): void => {
    this.#wake?.();
    this.#wake = undefined;
  };

  /** Ends every request with an error, now and later; returns once nothing runs. */
  async stop(error: unknown): Promise<void> {
    this.#end = error;
    this.#failAll(error);
    this.wake();
    await this.#turning;
  }

  async #turn(): Promise<void> {
    // Requests that come together begin together.
    await Promise.resolve();
    try {
      while (this.#sequences.size > 0) {
        this.#useWeights();
        this.#endAborted();
        const { works, stuck } = this.#isPaused ? NOTHING : this.#scheduler.plan();
        if (stuck) this.#fail(stuck, new CapacityError(poolIsFull(this.#runner.pages.maxPages)));
        else if (works.length > 0) await this.#run(works);
        else if (this.#sequences.size > 0) {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } catch (error) {
      // Whatever went wrong in a step went wrong for all that were in it.
      this.#failAll(error);
    } finally {
      this.#turning = undefined;
    }
  }

  async #run(works: readonly Planned<Sequence>[]): Promise<void> {
    const startedAt = performance.now();
    const step = this.#step(works);
    this.#stepping = step.catch(() => {});
    await step;
    if (this.#stepListeners.size === 0) return;
    const rowsByLoop: number[] = [];
    for (const { work } of works) {
      while (rowsByLoop.length <= work.loopIndex) rowsByLoop.push(0);
      rowsByLoop[work.loopIndex]! += work.count;
    }
    const report = { rowsByLoop, milliseconds: performance.now() - startedAt };
    for (const listener of this.#stepListeners) listener(report);
  }

  async #step(works: readonly Planned<Sequence>[]): Promise<void> {
    const { weightsVersion } = this.#runner;
    const startedAt = performance.now();
    const rows: StepRow[] = [];
    const observed = works.flatMap(({ item, work }): readonly Observed[] => {
      const firstRow = rows.length;
      rows.push(...item.rows(work));
      return item.watched(work).map(({ offset, ...rest }) => {
        return { item, row: firstRow + offset, ...rest };
      });
    });
    const rowsThatNeed = (what: 'logits' | 'hidden') =>
      observed.filter(({ needs }) => needs[what]).map(({ row }) => row);
    const readouts = rowsThatNeed('logits');
    const result = await this.#runner.step({
      rows,
      copies: works.flatMap(({ item }) => item.takeCopies()),
      readouts,
      hidden: rowsThatNeed('hidden'),
    });
    const exiting = observed.filter(({ item, decision, row }) => {
      if (!this.#sequences.has(item)) return false;
      const [readout, hidden] = [result.readouts.get(row), result.hidden.get(row)];
      const loop = { gateLogit: result.gateLogits[row]!, readout, hidden };
      return this.#guard(item, () => item.observe(decision, loop));
    });
    await this.#readOut(exiting, rows);
    // Of a step that began with other weights nothing is used: its sequences begin again.
    if (this.#runner.weightsVersion !== weightsVersion) return;
    const milliseconds = performance.now() - startedAt;
    if (works.every(({ work }) => work.count <= SMALL_ROWS)) {
      const streams = new Set(works.map(({ item }) => item)).size;
      const load = { streams, rows: rows.length };
      this.#cost.note({ ...load, readouts: readouts.length + exiting.length }, milliseconds);
    }
    const live = works.filter(({ item }) => this.#sequences.has(item));
    for (const { item, work } of live) item.advance(work);
    for (const item of new Set(live.map((planned) => planned.item))) this.#settle(item);
  }

  /** Reads out the tokens that have just exited. */
  async #readOut(exiting: readonly Observed[], rows: readonly StepRow[]): Promise<void> {
    const live = exiting.filter(({ item }) => this.#sequences.has(item));
    if (live.length === 0) return;
    const states = live.map(({ row }) => resultOf(rows[row]!));
    const readouts: readonly Readout[] = await this.#runner.readout(states);
    for (const [index, { decision }] of live.entries()) decision.readOut(readouts[index]!);
  }

  /** Tells the reader what is decided now. */
  #settle(sequence: Sequence): void {
    if (sequence.isAborted) return;
    this.#guard(sequence, () => {
      const reason = sequence.settle();
      if (!reason) return;
      this.#finish(sequence, reason);
    });
  }

  /** What was computed with other weights than those of now is of no use. */
  #useWeights(): void {
    const { weightsVersion, prefixes } = this.#runner;
    if (weightsVersion !== this.#weightsVersion) prefixes.clear();
    this.#weightsVersion = weightsVersion;
    for (const sequence of this.#sequences) sequence.useWeights(weightsVersion);
  }

  #endAborted(): void {
    for (const sequence of this.#sequences) {
      if (sequence.isAborted) this.#finish(sequence, 'aborted');
    }
  }

  #finish(sequence: Sequence, reason: FinishReason): void {
    const event = sequence.finish(reason);
    this.cancel(sequence);
    this.#numPromptTokens += event.numPromptTokens;
    this.#numCachedTokens += event.cachedTokens;
    sequence.sink.push(event);
  }

  /** What an exit policy or a damaged model throws ends its own request only. */
  #guard<T>(sequence: Sequence, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#fail(sequence, error);
      return undefined;
    }
  }

  #fail(sequence: Sequence, error: unknown): void {
    this.cancel(sequence);
    sequence.sink.fail(error);
  }

  #failAll(error: unknown): void {
    for (const sequence of this.#sequences) this.#fail(sequence, error);
  }
}
