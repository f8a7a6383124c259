/**
 * Splits what a model writes into its reasoning, between `<think>` and `</think>`, and its answer.
 *
 * The one idea: reasoning stands at the beginning or nowhere, so there is one switch from reasoning
 * to answer, and text that could still become a tag or the blank around one is held back until that
 * is certain. The result does not depend on how the text was cut into pieces. Knows no token ids.
 * Source: the tags of the released Ouro Thinking models.
 */
import { overlap } from '../util/overlap.js';

/** Part of a text that a model writes. */
export type TextChannel = 'reasoning' | 'answer';

/** Text that has become certain, by the part it belongs to; the reasoning comes first. */
export interface SplitText {
  readonly reasoning: string;
  readonly answer: string;
}

const OPEN = '<think>';
const CLOSE = '</think>';

/** The two tags, for tokenizers that have them as special tokens. */
export const THINK_TAGS: readonly string[] = [OPEN, CLOSE];

/** What opens reasoning at the end of a prompt. */
export const THINK_PREFIX = `${OPEN}\n`;

/** Whether a prompt ends in an open `<think>`, so that what follows is reasoning. */
export function opensThinking(prompt: string): boolean {
  return prompt.trimEnd().endsWith(OPEN);
}

/**
 * Whether a model is a Thinking model by its name: "thinking", in any case, in the last part of a
 * hub id or path, or in the entry of a hub cache (`models--OWNER--NAME`) that a path leads into.
 */
export function isThinkingName(idOrPath: string): boolean {
  const parts = idOrPath.split(/[\\/]/).filter((part) => part !== '');
  const names = [parts.at(-1) ?? '', ...parts.filter((part) => part.startsWith('models--'))];
  return names.some((name) => /thinking/i.test(name));
}

/**
 * Watches streamed text for reasoning.
 *
 * A text is all answer, unchanged, unless it begins with `<think>`, blanks aside, or the prompt has
 * opened one. Then it is reasoning up to the first `</think>`, or to its end, and answer after that,
 * further tags included. Tags belong to neither, nor do blanks around the reasoning and blank lines
 * before the answer.
 */
export class ReasoningSplitter {
  #state: 'start' | 'opened' | 'reasoning' | 'closed' | 'answer';
  #held = '';

  /** @param isOpen - whether the prompt has opened `<think>`; a second one is then passed over. */
  constructor(isOpen: boolean) {
    this.#state = isOpen ? 'opened' : 'start';
  }

  /** Where the text stands; `answer` while it is not yet known whether it opens with reasoning. */
  get channel(): TextChannel {
    return this.#state === 'opened' || this.#state === 'reasoning' ? 'reasoning' : 'answer';
  }

  /** Takes the next piece. Must not be called after `flush`. */
  push(piece: string): SplitText {
    this.#held += piece;
    if (this.#state === 'start' || this.#state === 'opened') this.#readOpening();
    const reasoning = this.#state === 'reasoning' ? this.#readReasoning() : '';
    if (this.#state === 'closed') this.#readClosing();
    return { reasoning, answer: this.#state === 'answer' ? this.#take(this.#held.length) : '' };
  }

  /** The text still held back, once no more is coming: what looked like a tag was none. */
  flush(): SplitText {
    const held = this.#take(this.#held.length);
    if (this.#state === 'start') return { reasoning: '', answer: held };
    if (this.#state === 'opened') return { reasoning: held.trim(), answer: '' };
    return { reasoning: this.#state === 'reasoning' ? held.trimEnd() : '', answer: '' };
  }

  /** Passes over `<think>`; text that is none decides what the whole begins with. */
  #readOpening(): void {
    let text = this.#held.trimStart();
    while (text.startsWith(OPEN)) {
      this.#state = 'opened';
      text = text.slice(OPEN.length).trimStart();
      this.#held = text;
    }
    if (OPEN.startsWith(text)) return;
    if (this.#state === 'opened') this.#held = text;
    this.#state = this.#state === 'opened' ? 'reasoning' : 'answer';
  }

  #readReasoning(): string {
    const end = this.#held.indexOf(CLOSE);
    if (end < 0) {
      const certain = this.#held.slice(0, this.#held.length - overlap(this.#held, CLOSE));
      return this.#take(certain.trimEnd().length);
    }
    this.#state = 'closed';
    const reasoning = this.#take(end).trimEnd();
    this.#take(CLOSE.length);
    return reasoning;
  }

  /** Passes over the blank lines before the answer; the indentation of its first line stays. */
  #readClosing(): void {
    if (this.#held.trimStart() === '') return;
    this.#held = this.#held.replace(/^\s*\n/, '');
    this.#state = 'answer';
  }

  #take(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    return text;
  }
}
