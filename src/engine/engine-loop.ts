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
import type { ModelRunner } from './runner/model-runner.js';
import type { Planned, SchedulerLimits } from './scheduler/scheduler.js';
import { Scheduler } from './scheduler/scheduler.js';
import type { Sequence } from './sequence.js';

/** A piece of work in a step. */
interface Running extends Planned<Sequence> {
  /** Row of its last position, whose token may be the newest. */
  readonly lastRow: number;
  /** Whether that row is shown to the policy. */
  readonly isDecided: boolean;
}

export class EngineLoop {
  readonly #runner: ModelRunner;
  readonly #scheduler: Scheduler<Sequence>;
  readonly #sequences = new Set<Sequence>();
  #turning: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #end: unknown;

  constructor(runner: ModelRunner, limits: SchedulerLimits) {
    this.#runner = runner;
    this.#scheduler = new Scheduler(limits, runner.pages);
  }

  /** Sequences that gave up their pages for others, so far. */
  get numPreemptions(): number {
    return this.#scheduler.numPreemptions;
  }

  /** Takes a request in; its events go to its sink. */
  add(sequence: Sequence): void {
    if (this.#end !== undefined) return sequence.sink.fail(this.#end);
    this.#sequences.add(sequence);
    this.#scheduler.add(sequence);
    sequence.request.signal?.addEventListener('abort', this.wake);
    this.#turning ??= this.#turn();
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
        for (const sequence of this.#sequences) sequence.useWeights(this.#runner.weightsVersion);
        this.#endAborted();
        const { works, stuck } = this.#scheduler.plan();
        if (stuck) this.#fail(stuck, new CapacityError(poolIsFull(this.#runner.pages.maxPages)));
        else if (works.length > 0) await this.#step(works);
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

  async #step(works: readonly Planned<Sequence>[]): Promise<void> {
    const { weightsVersion } = this.#runner;
    const rows = works.map(({ item, work }) => item.rows(work));
    let end = 0;
    const running = works.map(({ item, work }, index): Running => {
      end += rows[index]!.length;
      return { item, work, lastRow: end - 1, isDecided: item.isDecidedBy(work) };
    });
    const deciding = running.filter(({ isDecided }) => isDecided);
    const rowsThatNeed = (what: 'logits' | 'hidden') =>
      deciding.filter(({ item, work }) => item.needs(work)[what]).map(({ lastRow }) => lastRow);
    const result = await this.#runner.step({
      rows: rows.flat(),
      copies: works.flatMap(({ item }) => item.takeCopies()),
      readouts: rowsThatNeed('logits'),
      hidden: rowsThatNeed('hidden'),
    });
    await this.#readOut(
      this.#live(deciding).filter(({ item, lastRow }) =>
        this.#guard(item, () =>
          item.observe(
            result.gateLogits[lastRow]!,
            result.readouts.get(lastRow),
            result.hidden.get(lastRow),
          ),
        ),
      ),
    );
    // Of a step that began with other weights nothing is used: its sequences begin again.
    if (this.#runner.weightsVersion !== weightsVersion) return;
    for (const { item, work } of this.#live(running)) {
      item.advance(work);
      if (item.hasDecided) this.#emit(item);
    }
  }

  /** Reads out the tokens that have just exited. */
  async #readOut(exiting: readonly Running[]): Promise<void> {
    if (exiting.length === 0) return;
    const states = exiting.map(({ item }) => item.newestState);
    const readouts: readonly Readout[] = await this.#runner.readout(states);
    exiting.forEach(({ item }, index) => item.readOut(readouts[index]!));
  }

  #emit(sequence: Sequence): void {
    if (sequence.isAborted) return;
    this.#guard(sequence, () => {
      const reason = sequence.emit();
      if (!reason) return;
      const event = sequence.finish(reason);
      this.cancel(sequence);
      sequence.sink.push(event);
    });
  }

  #endAborted(): void {
    for (const sequence of this.#sequences) {
      if (!sequence.isAborted) continue;
      const event = sequence.finish('aborted');
      this.cancel(sequence);
      sequence.sink.push(event);
    }
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

  /** Those that were not cancelled while the device computed. */
  #live(running: readonly Running[]): readonly Running[] {
    return running.filter(({ item }) => this.#sequences.has(item));
  }

  #fail(sequence: Sequence, error: unknown): void {
    this.cancel(sequence);
    sequence.sink.fail(error);
  }

  #failAll(error: unknown): void {
    for (const sequence of this.#sequences) this.#fail(sequence, error);
  }
}
