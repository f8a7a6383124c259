/**
 * Prints a generation while it runs: text pieces, or ids without a tokenizer, coloured by depth.
 */
import type { LoopLM, TextEvent, TextFinishEvent } from '../loop-lm.js';
import type { CliIo } from './io.js';
import type { Style } from './style.js';

/**
 * Prints the events of one sequence on stdout and returns the last one; adds no line end.
 *
 * @param before - printed once it is sure that there will be events.
 */
export async function streamAnswer(
  { tokenizer }: LoopLM,
  events: AsyncIterable<TextEvent>,
  style: Style,
  { stdout }: CliIo,
  before = '',
): Promise<TextFinishEvent> {
  let lastDepth = 1;
  let isFirst = true;
  for await (const event of events) {
    if (isFirst) stdout.write(before);
    isFirst = false;
    if (event.kind === 'finish') {
      stdout.write(style.depth(event.lastPiece, lastDepth));
      return event;
    }
    const { text, tokenId, tokenIndex, exitDepth } = event;
    const idText = `${tokenIndex === 0 ? '' : ' '}${tokenId}`;
    stdout.write(style.depth(tokenizer ? text : idText, exitDepth));
    lastDepth = exitDepth;
  }
  throw new Error(NO_FINISH);
}

/** The last event of one sequence, printing nothing. */
export async function finishOf(events: AsyncIterable<TextEvent>): Promise<TextFinishEvent> {
  for await (const event of events) if (event.kind === 'finish') return event;
  throw new Error(NO_FINISH);
}

const NO_FINISH = 'a generation ended without a finish event';
