/**
 * Parts what a model writes into text and calls of tools, `<tool_call>{"name": ..., "arguments":
 * {...}}</tool_call>`.
 *
 * The one idea: text that could still become a call, or the blanks around one, is held back until that
 * is certain, so nothing is shown that a later piece would take away and the result does not depend on
 * how the text was cut. What stands between the tags and is no call stays text. Knows no template.
 * Source: the form of the Hermes and Qwen chat templates.
 */
import { z } from 'zod';
import { overlap } from '../util/overlap.js';

/** A tool that the model wants to have called. */
export interface ToolCall {
  readonly name: string;
  /** JSON of an object, as OpenAI's clients read it. */
  readonly arguments: string;
}

/** What a piece of text made certain. */
export interface ToolSplit {
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';

/** Tags around a call; some tokenizers have them as special tokens. */
export const TOOL_CALL_TAGS: readonly string[] = [OPEN, CLOSE];

const callSchema = z.object({
  name: z.string().min(1),
  arguments: z.record(z.string(), z.unknown()).default({}),
});

/**
 * Watches streamed text for calls. Calls are no part of the text, nor are the blanks around them; all
 * else is, unchanged.
 */
export class ToolCallSplitter {
  #held = '';
  /** Whether a call has just ended, so that blanks do not count. */
  #isAfterCall = false;

  /** Takes the next piece. Must not be called after `flush`. */
  push(piece: string): ToolSplit {
    this.#held += piece;
    let text = '';
    const calls: ToolCall[] = [];
    for (;;) {
      if (this.#isAfterCall) this.#held = this.#held.trimStart();
      const open = this.#held.indexOf(OPEN);
      const close = open < 0 ? -1 : this.#held.indexOf(CLOSE, open + OPEN.length);
      if (close < 0) {
        const certain = open < 0 ? this.#held.length - overlap(this.#held, OPEN) : open;
        text += this.#take(this.#held.slice(0, certain).trimEnd().length);
        return { text, calls };
      }
      const call = parseCall(this.#held.slice(open + OPEN.length, close));
      if (!call) {
        text += this.#take(close + CLOSE.length);
        continue;
      }
      text += this.#take(this.#held.slice(0, open).trimEnd().length);
      calls.push(call);
      this.#held = this.#held.slice(this.#held.indexOf(CLOSE) + CLOSE.length);
      this.#isAfterCall = true;
    }
  }

  /** The text still held back, once no more is coming: what looked like a call was none. */
  flush(): string {
    return this.#take(this.#held.length);
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    if (text !== '') this.#isAfterCall = false;
    return text;
  }
}

function parseCall(body: string): ToolCall | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const { data } = callSchema.safeParse(value);
  return data && { name: data.name, arguments: JSON.stringify(data.arguments) };
}
