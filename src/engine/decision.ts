/**
 * What is known of a token whose successor is being decided: the gates and readouts of its loops so
 * far, and whether its exit policy has let it go.
 */
import { ExitTracker } from './exit-policy.js';
import type { GenerationRequest } from './request.js';
import type { Readout } from './runner/model-ends.js';

/** What must be known of a loop before the policy is asked. */
export interface Needs {
  readonly logits: boolean;
  readonly hidden: boolean;
}

/** What a loop has brought. */
export interface Loop {
  readonly gateLogit: number;
  readonly readout: Readout | undefined;
  readonly hidden: Float32Array | undefined;
}

export class Decision {
  /** Of every loop that was shown. */
  readonly gateLogits: number[] = [];
  /** Of the loops that were read out, by loop index. */
  readonly readouts: (Readout | undefined)[] = [];
  readonly #request: GenerationRequest;
  readonly #numLoops: number;
  readonly #tracker: ExitTracker;
  /** Whether its exit is read out: to draw a token from, or to score the one that is known. */
  readonly #isRead: boolean;
  /** Whether all its loops are read out. */
  readonly #readsAll: boolean;
  #hasExited = false;

  /** @param tokenIndex - index of the token that is decided, as in `ExitContext`; below 0 it is known */
  constructor(request: GenerationRequest, numLoops: number, tokenIndex: number) {
    this.#request = request;
    this.#numLoops = numLoops;
    const { record, loopLogprobs, promptLogprobs, sampling } = request;
    const isDrawn = tokenIndex >= 0;
    this.#isRead = isDrawn || promptLogprobs !== undefined;
    this.#readsAll = isDrawn && (record === true || loopLogprobs !== undefined);
    const { seed } = sampling;
    this.#tracker = new ExitTracker(request.exitPolicy, { numLoops, seed, tokenIndex });
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** The exit depth, once it has exited. */
  get exitDepth(): number {
    return this.#tracker.depth;
  }

  /** Loops that were shown. */
  get numObserved(): number {
    return this.gateLogits.length;
  }

  /** What the next loop must bring. */
  get needs(): Needs {
    const { exitPolicy } = this.#request;
    const isOpen = !this.#hasExited;
    // The last loop is always an exit: its readout is wanted for certain.
    const isLast = isOpen && this.numObserved === this.#numLoops - 1;
    return {
      logits: this.#readsAll || (this.#isRead && isLast) || (exitPolicy.needs.logits && isOpen),
      hidden: exitPolicy.needs.hidden && isOpen,
    };
  }

  /**
   * Shows the policy the next loop.
   *
   * @returns whether the token exits here and its readout is still wanted
   */
  observe({ gateLogit, readout, hidden }: Loop): boolean {
    this.gateLogits.push(gateLogit);
    this.readouts[this.numObserved - 1] = readout;
    if (this.#hasExited) return false;
    this.#hasExited = this.#tracker.observe({
      gateLogit,
      ...(hidden && { hidden }),
      ...(readout && { logits: readout.logits }),
    });
    return this.#hasExited && this.#isRead && readout === undefined;
  }

  /** The readout that `observe` asked for. */
  readOut(readout: Readout): void {
    this.readouts[this.exitDepth - 1] = readout;
  }
}
