/**
 * Lines of conversations to documents, and documents cut to fit a row.
 */
import { FileError, RequestError } from '../../errors.js';
import type { TrainingDocument } from '../batch.js';
import type { ChatDocumentsOptions } from './chat-documents.js';
import { chatDocuments } from './chat-documents.js';
import { parseConversation } from './conversation.js';

export interface ChatLinesOptions extends ChatDocumentsOptions {
  /** Name of the file, for messages. */
  readonly path: string;
  /** Number of the first of the lines in its file. */
  readonly firstLine: number;
}

/** The documents of one line. */
export interface ChatLine {
  /** The line as JSON without spaces, which decides whether it is held out. */
  readonly text: string;
  readonly documents: readonly TrainingDocument[];
}

/**
 * The documents of each line; empty lines are passed over.
 *
 * @throws FileError, while iterating, that names the line that is no conversation or that the template
 *   refuses.
 */
export function* chatLines(
  lines: Iterable<string>,
  options: ChatLinesOptions,
): Generator<ChatLine, void, undefined> {
  let lineNumber = options.firstLine - 1;
  for (const line of lines) {
    lineNumber++;
    if (line.trim() === '') continue;
    let documents: TrainingDocument[];
    try {
      documents = chatDocuments(parseConversation(line), options);
    } catch (cause) {
      if (!(cause instanceof RequestError)) throw cause;
      const message = `${options.path}, line ${lineNumber}: ${cause.message}`;
      throw new FileError(options.path, message, { cause });
    }
    yield { text: JSON.stringify(JSON.parse(line)), documents };
  }
}

/**
 * Documents that fit a row: a longer one is cut at the row's end, and left out if nothing that counts is
 * left.
 */
export function cutToRows(
  documents: readonly TrainingDocument[],
  length: number,
): TrainingDocument[] {
  return documents
    .map(({ ids, targets }) => ({ ids: ids.slice(0, length), targets: targets.slice(0, length) }))
    .filter(({ targets }) => targets.some((target) => target >= 0));
}
