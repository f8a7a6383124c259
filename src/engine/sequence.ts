/**
 * One sequence while it is generated: its tokens and how deep each of them has gone.
 *
 * Tokens that have not run all loops and may still be asked to keep their last state: they
 * are the sequence's *frontier*. Under the `per-loop` KV policy a later token that goes deeper takes
 * them along (deferred loops), which makes early exit exact.
 */
import { assert } from '../errors.js';

export interface SequenceToken {
  readonly id: number;
  /** Index in the sequence. */
  readonly position: number;
  /** Whether the request came with it; else it was generated. */
  readonly isPrompt: boolean;
  /** Loops run so far. */
  depth: number;
  /**
   * What the next loop takes, `[D]`; undefined before the first, and once no further loop can be asked.
   */
  state: Float32Array | undefined;
  /** h of the last loop `[D]`, undefined where `state` is: the same array where the two are one. */
  hidden: Float32Array | undefined;
  /** Whether no further loop can be asked. */
  isDone: boolean;
}

export class Sequence {
  readonly tokens: SequenceToken[] = [];
  /** Tokens that may still be asked to run a loop, oldest first. */
  #frontier: SequenceToken[] = [];

  append(id: number, { isPrompt = false }: { readonly isPrompt?: boolean } = {}): SequenceToken {
    const token = {
      id,
      position: this.tokens.length,
      isPrompt,
      depth: 0,
      state: undefined,
      hidden: undefined,
      isDone: false,
    };
    this.tokens.push(token);
    this.#frontier.push(token);
    return token;
  }

  /**
   * The tokens up to `last` that have run exactly `depth` loops and may be asked for more, oldest
   * first: those that must run the next loop for `last` to run it.
   */
  waitingAt(depth: number, last: SequenceToken): readonly SequenceToken[] {
    this.#frontier = this.#frontier.filter((token) => !token.isDone);
    const waiting = this.#frontier.filter(
      (token) => token.position <= last.position && token.depth === depth,
    );
    assert(waiting.at(-1) === last, 'the last token waits for its own loop');
    return waiting;
  }
}

/** Lets go of a token's state: no later loop can ask for it. */
export function finishToken(token: SequenceToken): void {
  token.isDone = true;
  token.state = undefined;
  token.hidden = undefined;
}
