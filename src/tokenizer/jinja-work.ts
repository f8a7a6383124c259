/**
 * How much work a template may do, counted, not timed: the same template and messages always end the
 * same way, on any machine.
 *
 * One unit is a character that is read or written. An evaluated node, or a new entry of a list, costs
 * what reading some characters costs.
 */

/** A node of the template is evaluated. */
export const NODE_UNITS = 32;
/** A new value becomes an entry of a list. */
export const ENTRY_UNITS = 32;
/** An entry of a list is copied into another list. */
export const COPY_UNITS = 8;

/** For any conversation, however short: a quarter of a million nodes. Templates in use take 40,000 units. */
const BASE_UNITS = 2 ** 23;
/** For each character of the messages. Templates in use take 4 to 40. */
const UNITS_PER_CHARACTER = 256;
/** Where JavaScript ends: no string is longer. */
const MOST_UNITS = 2 ** 29;

/** How deep calls of macros and values of values may go. Templates in use stay under 20. */
const MAX_DEPTH = 400;

/** A template has reached its limit. */
export class TemplateLimitError extends Error {
  override readonly name = 'TemplateLimitError';
}

/** What is left of the work that a template may do. */
export class TemplateWork {
  readonly #limit: number;
  #left: number;
  #depth = 0;

  /** @param numCharacters - of the messages. */
  constructor(numCharacters: number) {
    this.#limit = Math.min(MOST_UNITS, BASE_UNITS + UNITS_PER_CHARACTER * numCharacters);
    this.#left = this.#limit;
  }

  /** Units that were spent. */
  get spent(): number {
    return this.#limit - this.#left;
  }

  /**
   * Takes `units` off what is left; call it before the work.
   *
   * @throws TemplateLimitError if there is less.
   */
  spend(units: number): void {
    this.#left -= units;
    // not `< 0`: NaN must not pass
    if (!(this.#left >= 0)) {
      throw new TemplateLimitError(
        `it does more work than the messages can need (${this.#limit} steps and characters); it probably never ends`,
      );
    }
  }

  /** Runs `inner` one level deeper. */
  deeper<T>(inner: () => T): T {
    if (this.#depth >= MAX_DEPTH) {
      throw new TemplateLimitError(`it nests more than ${MAX_DEPTH} levels deep`);
    }
    this.#depth += 1;
    try {
      return inner();
    } finally {
      this.#depth -= 1;
    }
  }
}
