/**
 * Who may compute: a bounded number of sequences at a time, and a bounded queue before them.
 *
 * The engine would take any number; the bound keeps what runs fast, and what waits in a place where it
 * can be counted, refused and given up. Larger priority goes first, then who came first; nobody
 * overtakes a request for its size, so none starves.
 */
import { ApiError } from './errors.js';
import type { ServeSettings } from './options.js';

/** A place in the queue, then among those that compute. */
export interface Ticket {
  /** Resolves when it may compute; rejects with the signal's reason if it is given up before. */
  readonly turn: Promise<void>;
  /** Gives the place back; more than once is no harm. */
  release(): void;
}

interface Waiting {
  readonly size: number;
  readonly priority: number;
  begin(): void;
}

/** How much of the newest duration the estimate takes over. */
const NEWEST = 0.2;
const MAX_RETRY_SECONDS = 60;

export class Admission {
  readonly #maxSequences: number;
  readonly #maxRequestSequences: number;
  readonly #maxQueue: number;
  readonly #now: () => number;
  #waiting: Waiting[] = [];
  #numSequences = 0;
  #numOpen = 0;
  #isEnding = false;
  #isClosed = false;
  #isHeld = false;
  #onIdle: (() => void)[] = [];
  #onQuiet: (() => void)[] = [];
  /** Seconds that a request computes, about. */
  #seconds = 1;

  /** @param now - milliseconds of a steady clock */
  constructor(
    limits: Pick<ServeSettings, 'maxSequences' | 'maxRequestSequences' | 'maxQueue'>,
    now: () => number = () => performance.now(),
  ) {
    this.#maxSequences = limits.maxSequences;
    this.#maxRequestSequences = limits.maxRequestSequences;
    this.#maxQueue = limits.maxQueue;
    this.#now = now;
  }

  /** Whether it is closed, or will be soon. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Requests that wait for their turn. */
  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** Requests with a ticket. */
  get numOpen(): number {
    return this.#numOpen;
  }

  /**
   * Takes a request in.
   *
   * @param numSequences - one with more than run at a time takes all the room there is
   * @param signal - gives it up while it waits
   * @throws ApiError 400 for more sequences than a request may have, 429 when the queue is full, 503 when closed
   */
  enter(numSequences: number, priority: number, signal: AbortSignal): Ticket {
    this.check(numSequences);
    const size = Math.min(numSequences, this.#maxSequences);
    let startedAt: number | undefined;
    let isOver = false;
    let entry: Waiting | undefined;
    this.#numOpen += 1;
    const release = () => {
      if (isOver) return;
      isOver = true;
      signal.removeEventListener('abort', giveUp);
      this.#numOpen -= 1;
      if (startedAt === undefined) {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
      } else {
        this.#numSequences -= size;
        if (this.#numSequences === 0) for (const resolve of this.#onQuiet.splice(0)) resolve();
        this.#seconds += NEWEST * ((this.#now() - startedAt) / 1000 - this.#seconds);
      }
      this.#admit();
      if (this.#numOpen === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
    };
    let giveUp = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      giveUp = () => {
        if (startedAt !== undefined) return; // who computes gives its place back itself
        release();
        reject(signal.reason as Error);
      };
      entry = {
        size,
        priority,
        begin: () => {
          startedAt = this.#now();
          this.#numSequences += size;
          resolve();
        },
      };
      const after = this.#waiting.findIndex((other) => other.priority < priority);
      this.#waiting.splice(after < 0 ? this.#waiting.length : after, 0, entry);
    });
    turn.catch(() => {}); // nobody may have come to wait for it
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    this.#admit();
    return { turn, release };
  }

  /** Throws as `enter` does. */
  check(numSequences: number): void {
    if (this.#isClosed) {
      throw new ApiError(503, 'The server is ending and takes no new requests.', {
        code: 'draining',
        headers: { 'retry-after': '1', connection: 'close' },
      });
    }
    if (numSequences > this.#maxRequestSequences) {
      throw new ApiError(
        400,
        `The request has ${numSequences} sequences (prompts times n); at most ${this.#maxRequestSequences} are taken at once. Send several requests.`,
        { code: 'too_many_sequences', param: 'n' },
      );
    }
    const size = Math.min(numSequences, this.#maxSequences);
    const mustWait = this.#waiting.length > 0 || this.#numSequences + size > this.#maxSequences;
    if (!mustWait || this.#waiting.length < this.#maxQueue) return;
    throw new ApiError(
      429,
      `${this.#waiting.length} requests are waiting already, and no more may. Try again later.`,
      { code: 'queue_full', headers: { 'retry-after': String(this.#retrySeconds()) } },
    );
  }

  /** Tells whoever asks that it will close. */
  announceEnd(): void {
    this.#isEnding = true;
  }

  /** Refuses all that comes from now on; resolves when nothing is open any more. */
  async close(): Promise<void> {
    this.#isEnding = true;
    this.#isClosed = true;
    if (this.#numOpen > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  /** Lets nobody begin until `goOn`; resolves when nobody computes any more. */
  async hold(): Promise<void> {
    this.#isHeld = true;
    if (this.#numSequences > 0) await new Promise<void>((resolve) => this.#onQuiet.push(resolve));
  }

  goOn(): void {
    this.#isHeld = false;
    this.#admit();
  }

  #admit(): void {
    if (this.#isHeld) return;
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      if (this.#numSequences + next.size > this.#maxSequences) return;
      this.#waiting.shift();
      next.begin();
    }
  }

  /** About when the queue will have a place again. */
  #retrySeconds(): number {
    const rounds = (this.#waiting.length + 1) / this.#maxSequences;
    return Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(rounds * this.#seconds)));
  }
}
