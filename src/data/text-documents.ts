/**
 * Documents for next-token prediction from one long text.
 *
 * The one idea: the text is cut into blocks at line ends; some blocks are held out, and those that
 * remain are joined again where they are neighbours, so that nothing but the held-out text is lost
 * and no end of text is learnt where none is.
 */
import type { TrainingDocument } from './batch.js';
import { IGNORED_TARGET } from './batch.js';
import { holdOut } from './hold-out.js';

export interface TextDocumentsOptions {
  /** Called for one block at a time, so that it may show progress and let others run. */
  readonly encode: (text: string) => readonly number[] | Promise<readonly number[]>;
  /** What the last token of the text should predict. */
  readonly endOfTextId: number;
  /** Part of the blocks to hold out, as `holdOut` does. */
  readonly heldOutFraction: number;
}

export interface TextDocuments {
  /** Stretches of neighbouring blocks. */
  readonly training: readonly TrainingDocument[];
  /** One block each. */
  readonly heldOut: readonly TrainingDocument[];
}

/** Long enough for sentences to have a beginning, short enough for a small text to have many. */
const BLOCK_CHARACTERS = 2048;

/** Cuts a text into documents; see above. An empty text has none. */
export async function textDocuments(
  text: string,
  options: TextDocumentsOptions,
): Promise<TextDocuments> {
  const { encode, endOfTextId, heldOutFraction } = options;
  const blocks = textBlocks(text, BLOCK_CHARACTERS);
  const isHeldOut = holdOut(blocks, heldOutFraction);
  const training: TrainingDocument[] = [];
  const heldOut: TrainingDocument[] = [];
  let stretch: (readonly number[])[] = [];
  const endStretch = (target: number) => {
    if (stretch.length > 0) training.push(nextTokenDocument(stretch, target));
    stretch = [];
  };
  for (const [index, block] of blocks.entries()) {
    const ids = await encode(block);
    const target = index === blocks.length - 1 ? endOfTextId : IGNORED_TARGET;
    if (isHeldOut[index]) {
      endStretch(IGNORED_TARGET);
      heldOut.push(nextTokenDocument([ids], target));
    } else {
      stretch.push(ids);
      if (target === endOfTextId) endStretch(target);
    }
  }
  return { training, heldOut };
}

/**
 * Cuts a text into pieces of at most so many characters: after a line end, else after a space, else
 * anywhere but within a character. Joined they are the text.
 */
export function textBlocks(text: string, maxCharacters: number): string[] {
  const blocks: string[] = [];
  for (let start = 0; start < text.length;) {
    const end = Math.min(text.length, start + maxCharacters);
    const cut = end === text.length ? end : cutBefore(text, start, end);
    blocks.push(text.slice(start, cut));
    start = cut;
  }
  return blocks;
}

function cutBefore(text: string, start: number, end: number): number {
  const piece = text.slice(start, end);
  const afterLine = piece.lastIndexOf('\n') + 1;
  if (afterLine > 0) return start + afterLine;
  const afterSpace = piece.lastIndexOf(' ') + 1;
  if (afterSpace > 0) return start + afterSpace;
  const isWithinCharacter = /[\uDC00-\uDFFF]/.test(text.charAt(end));
  return isWithinCharacter && end - 1 > start ? end - 1 : end;
}

/** A document whose targets are its ids shifted by one; both lie in one array. */
function nextTokenDocument(parts: readonly (readonly number[])[], last: number): TrainingDocument {
  const length = parts.reduce((sum, { length: more }) => sum + more, 0);
  const tokens = new Int32Array(length + 1);
  let offset = 0;
  for (const part of parts) {
    tokens.set(part, offset);
    offset += part.length;
  }
  tokens[length] = last;
  return { ids: tokens.subarray(0, length), targets: tokens.subarray(1) };
}
