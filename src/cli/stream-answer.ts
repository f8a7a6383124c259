/**
 * Prints a generation while it runs: text pieces, or ids without a tokenizer, coloured by depth.
 * Reasoning is dim and named, so that it can be told from the answer without colour, too.
 */
import type { LoopLM, TextEvent, TextFinishEvent } from '../loop-lm.js';
import type { TextChannel } from '../tokenizer/index.js';
import type { CliIo } from './io.js';
import type { Style } from './style.js';

/** How an answer is printed. */
export interface StreamOptions {
  /** Printed once it is sure that there will be events. */
  readonly before?: string;
  /** Leaves the reasoning out. */
  readonly hidesReasoning?: boolean | undefined;
}

/** Prints the events of one sequence on stdout and returns the last one; adds no line end. */
export async function streamAnswer(
  { tokenizer }: LoopLM,
  events: AsyncIterable<TextEvent>,
  style: Style,
  { stdout }: CliIo,
  { before = '', hidesReasoning = false }: StreamOptions = {},
): Promise<TextFinishEvent> {
  const printed = printer(style, hidesReasoning);
  let lastDepth = 1;
  let isFirst = true;
  for await (const event of events) {
    if (isFirst) stdout.write(before);
    isFirst = false;
    if (event.kind === 'finish') {
      stdout.write(printed('reasoning', event.lastReasoning, lastDepth));
      stdout.write(printed('answer', event.lastPiece, lastDepth));
      return event;
    }
    const { text, channel, tokenId, tokenIndex, exitDepth } = event;
    const idText = `${tokenIndex === 0 ? '' : ' '}${tokenId}`;
    stdout.write(printed(channel, tokenizer ? text : idText, exitDepth));
    lastDepth = exitDepth;
  }
  throw new Error(NO_FINISH);
}

/** What to print of a piece: reasoning under a heading of its own, and the answer after it too. */
function printer(style: Style, hidesReasoning: boolean) {
  let hasReasoned = false;
  let hasAnswered = false;
  return (channel: TextChannel, text: string, depth: number): string => {
    if (text === '' || (channel === 'reasoning' && hidesReasoning)) return '';
    if (channel === 'reasoning') {
      const heading = hasReasoned ? '' : '[reasoning]\n';
      hasReasoned = true;
      return style.dim(heading + text);
    }
    const heading = hasReasoned && !hasAnswered ? `\n${style.dim('[answer]')}\n` : '';
    hasAnswered = true;
    return heading + style.depth(text, depth);
  };
}

/** The last event of one sequence, printing nothing. */
export async function finishOf(events: AsyncIterable<TextEvent>): Promise<TextFinishEvent> {
  for await (const event of events) if (event.kind === 'finish') return event;
  throw new Error(NO_FINISH);
}

const NO_FINISH = 'a generation ended without a finish event';
