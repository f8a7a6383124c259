/**
 * One machine among those of a run: it takes a place in a round, hands in what it came to, and waits for the
 * others as long as they live.
 *
 * No common clock is needed. Whether another machine lives is told by whether its sign of life changes
 * while this one looks, on its own clock, of which every look counts no more than the time between two
 * looks should be: a machine that stood still does not take the others for dead.
 */
import type { SharedStore } from '../../cluster/index.js';
import type { OuterSettings } from '../config.js';
import type { Replica } from './replica.js';
import type { Round, RoundResult, Rounds } from './rounds.js';
import { isClosed } from './rounds.js';

export interface MemberOptions {
  readonly store: SharedStore;
  readonly rounds: Rounds;
  readonly replica: Replica;
  readonly id: string;
  readonly outer: OuterSettings;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
  /** Called with what is waited for, now and then. */
  readonly onWait: (what: string) => void;
  readonly signal: AbortSignal | undefined;
}

/** Between two looks at a round; longer where many look. */
const POLL_MS = 250;
const POLL_MS_A_MEMBER = 10;
/** Signs of life in the time after which a silent machine is given up. */
const SIGNS = 6;
/** What is waited for is told after so long, and again after so long. */
const FIRST_NOTE_MS = 2000;
const NOTE_MS = 30_000;
/** A machine that leaves says so, if it can within this time. */
const FAREWELL_MS = 2000;

const aliveKey = (id: string) => `alive.${id}`;

export class Member {
  readonly #options: MemberOptions;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: MemberOptions) {
    this.#options = options;
  }

  /** Gives signs of life from now on. */
  live(): void {
    const { store, id, outer } = this.#options;
    let count = 0;
    let isWriting = false;
    const sign = async () => {
      if (isWriting) return;
      isWriting = true;
      await store.replace(aliveKey(id), String(++count)).catch(() => {}); // the next one tells it, too
      isWriting = false;
    };
    void sign();
    this.#timer = setInterval(() => void sign(), (1000 * outer.silence) / SIGNS);
  }

  /** Gives no more of them, and says goodbye to the round that is open. */
  async leave(): Promise<void> {
    const { rounds, replica, id, store } = this.#options;
    clearInterval(this.#timer);
    const farewell = async () => {
      await rounds.change(replica.state.round, (round) => {
        const { members, joining, leaving } = round;
        return {
          ...round,
          joining: joining.filter((other) => other !== id),
          leaving: members.includes(id) ? [...new Set([...leaving, id])] : leaving,
        };
      });
      await store.remove(aliveKey(id));
    };
    await Promise.race([farewell().catch(() => {}), pause(FAREWELL_MS)]);
  }

  /**
   * Waits for a place in a round, with the state brought up to date.
   *
   * @returns the round that is open, with this machine as a member; undefined after the last one, or when
   * the signal has aborted
   */
  async place(): Promise<Round | undefined> {
    const { rounds, replica, id, signal } = this.#options;
    for (;;) {
      const round = await replica.catchUp();
      if (!round || signal?.aborted) return undefined;
      const isMember = round.members.includes(id);
      await rounds.change(replica.state.round, (it) => {
        const { members, joining, leaving } = it;
        if (members.includes(id)) {
          if (!leaving.includes(id)) return undefined;
          return { ...it, leaving: leaving.filter((other) => other !== id) };
        }
        return joining.includes(id) ? undefined : { ...it, joining: [...joining, id] };
      });
      if (isMember) return round;
      await this.untilClosed(Infinity);
    }
  }

  /** Hands in what this machine came to in the round that is open. */
  async handIn(result: RoundResult): Promise<void> {
    const { rounds, replica, id } = this.#options;
    await rounds.change(replica.state.round, (round) =>
      round.results[id] || !round.members.includes(id)
        ? undefined
        : { ...round, results: { ...round.results, [id]: result } },
    );
  }

  /** Whether the round of the state is over, this machine waited for or not. */
  async isOver(): Promise<boolean> {
    const found = await this.#options.rounds.read(this.#options.replica.state.round);
    return !found || isClosed(found.round);
  }

  /**
   * Waits until the round that is open is closed, by this machine if nobody is to be waited for any more,
   * or until the signal aborts.
   *
   * @param patience - seconds after which members that live are not waited for either
   */
  async untilClosed(patience: number): Promise<void> {
    const { rounds, replica, outer, now, signal, onWait } = this.#options;
    const number = replica.state.round;
    const watch = new LifeWatch(this.#options);
    const start = now();
    let noteAt = start + FIRST_NOTE_MS;
    while (!signal?.aborted) {
      const found = await rounds.read(number);
      if (!found || isClosed(found.round)) return;
      const { round, revision } = found;
      replica.fetchAhead(round);
      const missing = round.members.filter(
        (id) => round.results[id] === undefined && !round.leaving.includes(id),
      );
      await watch.look(missing, pollMs(round));
      const isBeginning = number === 0 && round.joining.length < outer.startWith;
      const awaited = missing.filter(
        (id) => watch.silenceOf(id) < outer.silence && watch.seconds < patience,
      );
      if (awaited.length === 0 && !isBeginning) {
        const closed = await replica.countable(round);
        if (await rounds.write(number, { ...round, closed }, revision)) return;
        continue;
      }
      if (now() >= noteAt) {
        const seconds = Math.round((now() - start) / 1000);
        onWait(
          isBeginning
            ? `waiting for ${outer.startWith} machines, of which ${round.joining.length} are here (${seconds} s)`
            : `waiting for ${awaited.length} of ${round.members.length} machines in round ${number} (${seconds} s): ${awaited.slice(0, MAX_NAMED).join(', ')}`,
        );
        noteAt = now() + NOTE_MS;
      }
      await pause(pollMs(round));
    }
  }
}

const pollMs = ({ members }: Round) => Math.max(POLL_MS, POLL_MS_A_MEMBER * members.length);

const MAX_NAMED = 3;

/** Who has given no sign of life for how long. */
class LifeWatch {
  readonly #options: MemberOptions;
  readonly #seen = new Map<string, { readonly revision: number; readonly at: number }>();
  /** Seconds of watching. */
  seconds = 0;
  #lookedAt: number;
  #askedAt = -Infinity;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#lookedAt = options.now();
  }

  /** @param shouldTake - milliseconds from one look to the next; of longer ones no more than twice that counts */
  async look(ids: readonly string[], shouldTake: number): Promise<void> {
    const { store, now, outer } = this.#options;
    const passed = (now() - this.#lookedAt) / 1000;
    this.#lookedAt = now();
    this.seconds += Math.min(passed, (2 * shouldTake) / 1000);
    if (this.seconds - this.#askedAt < outer.silence / SIGNS) return;
    this.#askedAt = this.seconds;
    for (const id of ids) {
      const revision = (await store.read(aliveKey(id)))?.revision ?? 0;
      if (this.#seen.get(id)?.revision === revision) continue;
      this.#seen.set(id, { revision, at: this.seconds });
    }
  }

  silenceOf(id: string): number {
    return this.seconds - (this.#seen.get(id)?.at ?? this.seconds);
  }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
