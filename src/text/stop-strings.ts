/**
 * When generated text ends a generation, and which text may be shown before that is known.
 *
 * The one idea: text that could still become a stop string is held back, so that nothing is ever
 * shown which the cut would take away again. The result does not depend on how the text was cut into
 * pieces. Knows no tokens.
 */
import { assert } from '../errors.js';
import { overlap } from '../util/overlap.js';

/** What a piece of text led to. */
export interface StopOutcome {
  /** Text that is now certain to belong to the result, possibly empty. */
  readonly text: string;
  /** The stop string that ended the text here, if one did. */
  readonly stoppedBy?: string;
}

/**
 * Watches streamed text for stop strings.
 *
 * The text ends where a stop string is first complete, and is cut at that string's beginning; of
 * several that are complete at the same character the longest counts.
 */
export class StopStringMatcher {
  readonly #stopStrings: readonly string[];
  #held = '';
  #hasStopped = false;

  constructor(stopStrings: readonly string[]) {
    this.#stopStrings = stopStrings;
  }

  /** Takes the next piece. Must not be called after a stop string was found or after `flush`. */
  push(piece: string): StopOutcome {
    assert(!this.#hasStopped, 'text was pushed after its end');
    this.#held += piece;
    const match = firstComplete(this.#held, this.#stopStrings);
    if (match) {
      this.#hasStopped = true;
      return { text: this.#take(match.start), stoppedBy: match.stopString };
    }
    return { text: this.#take(this.#held.length - this.#openLength()) };
  }

  /** The text still held back, once no more is coming: what looked like a beginning was none. */
  flush(): string {
    if (this.#hasStopped) return '';
    this.#hasStopped = true;
    return this.#held;
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }

  /** Length of the longest end of the held text that begins a stop string. */
  #openLength(): number {
    const lengths = this.#stopStrings.map((stopString) => overlap(this.#held, stopString));
    return Math.max(0, ...lengths);
  }
}

/** The stop string that is complete first in a text, and where it begins. */
function firstComplete(
  text: string,
  stopStrings: readonly string[],
): { start: number; stopString: string } | undefined {
  return stopStrings
    .map((stopString) => ({ start: text.indexOf(stopString), stopString }))
    .filter(({ start }) => start >= 0)
    .toSorted((a, b) => endOf(a) - endOf(b) || a.start - b.start)[0];
}

function endOf(match: { start: number; stopString: string }): number {
  return match.start + match.stopString.length;
}
