/**
 * One sequence while it is generated: its tokens, where they lie in the cache, and how deep each
 * of them has gone.
 *
 * Tokens that have not run all loops and may still be asked to keep their last hidden state: they
 * are the sequence's *frontier*. Under the `per-loop` KV policy a later token that goes deeper takes
 * them along (deferred loops), which makes early exit exact.
 */
import { assert } from '../errors.js';

export interface SequenceToken {
  readonly id: number;
  /** Index in the sequence. */
  readonly position: number;
  /** Row of the cache. */
  readonly slot: number;
  /** Loops run so far. */
  depth: number;
  /** h after the last loop, or the embedding `[D]`; undefined once no further loop can be asked. */
  hidden: Float32Array | undefined;
}

export class Sequence {
  readonly tokens: SequenceToken[] = [];

  append(id: number, slot: number, embedding: Float32Array): SequenceToken {
    const position = this.tokens.length;
    const token = { id, position, slot, depth: 0, hidden: embedding };
    this.tokens.push(token);
    return token;
  }

  /**
   * The tokens up to `last` that have run exactly `depth` loops and still have their state, oldest
   * first: those that must run the next loop for `last` to run it.
   */
  waitingAt(depth: number, last: SequenceToken): readonly SequenceToken[] {
    const waiting = this.tokens.filter(
      (token) =>
        token.position <= last.position && token.depth === depth && token.hidden !== undefined,
    );
    assert(waiting.at(-1) === last, 'the last token waits for its own loop');
    return waiting;
  }
}
