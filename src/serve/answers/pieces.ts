/**
 * The text of one sequence as the APIs tell it, piece by piece: reasoning, answer, calls of tools, and
 * why it ended. Streams send the pieces; whole answers add them up, so both say the same.
 */
import type { TextEvent, TextFinishEvent, TextTokenEvent } from '../../loop-lm.js';
import type { ToolCall } from '../../text/index.js';
import { ToolCallSplitter } from '../../text/index.js';

/** What one event adds. */
export interface Piece {
  readonly reasoning: string;
  readonly text: string;
  readonly calls: readonly ToolCall[];
  readonly token?: TextTokenEvent;
  readonly finish?: TextFinishEvent;
}

/** Why an answer ended, as OpenAI's clients know it. */
export type WireFinishReason = 'stop' | 'length' | 'abort';

export function wireFinishReason({ finishReason }: TextFinishEvent): WireFinishReason {
  switch (finishReason) {
    case 'stop-id':
    case 'stop-string':
      return 'stop';
    case 'max-new-tokens':
    case 'context-limit':
      return 'length';
    case 'aborted':
      return 'abort';
  }
}

/** Turns the events of one sequence into pieces. */
export class Pieces {
  readonly #splitter: ToolCallSplitter | undefined;
  #hasCalls = false;

  /** @param takesCalls - whether calls of tools are taken out of the text */
  constructor(takesCalls = false) {
    this.#splitter = takesCalls ? new ToolCallSplitter() : undefined;
  }

  /** Whether a tool was called so far. */
  get hasCalls(): boolean {
    return this.#hasCalls;
  }

  take(event: TextEvent): Piece {
    switch (event.kind) {
      case 'token': {
        const isReasoning = event.channel === 'reasoning';
        const answer = this.#answer(isReasoning ? '' : event.text);
        return { reasoning: isReasoning ? event.text : '', ...answer, token: event };
      }
      case 'finish': {
        const { text, calls } = this.#answer(event.lastPiece);
        const rest = this.#splitter?.flush() ?? '';
        return { reasoning: event.lastReasoning, text: text + rest, calls, finish: event };
      }
    }
  }

  #answer(text: string): Pick<Piece, 'text' | 'calls'> {
    const split = this.#splitter?.push(text) ?? { text, calls: [] };
    if (split.calls.length > 0) this.#hasCalls = true;
    return split;
  }
}
