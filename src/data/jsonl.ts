/**
 * Training documents from lines of JSON.
 *
 * The one idea: a line is either text, learnt by next-token prediction, or ids with their targets,
 * taken as they are. A wrong line is named by file and number.
 * Does not open files: the caller passes the lines.
 */
import { z } from 'zod';
import { FileError } from '../errors.js';
import type { TrainingDocument } from './batch.js';
import { IGNORED_TARGET } from './batch.js';

/** How to read the lines. */
export interface JsonLinesOptions {
  /** Name of the file, for messages. */
  readonly path: string;
  /** Text to token ids, for `{"text": ...}` lines. */
  readonly encode: (text: string) => readonly number[];
  /** What the last token of a text should predict. */
  readonly endOfTextId: number;
  /** Ids and targets must lie below it. */
  readonly vocabSize: number;
  /** Number of the first of the lines in its file, for messages. Default 1. */
  readonly firstLine?: number;
}

const REMEDY = 'Write {"text": "..."} or {"ids": [...], "targets": [...]}.';

const Line = z.union([
  z.strictObject({ text: z.string() }),
  z.strictObject({ ids: z.array(z.int()), targets: z.array(z.int()) }),
]);

/**
 * Documents of JSONL lines, one for each, in order; empty lines are passed over. A text becomes its
 * tokens, each of which predicts the next one, and the last one the end of the text. Ids come with
 * one target each, -100 where nothing is counted.
 *
 * @throws FileError, while iterating, if a line is not JSON, has other fields, is empty, has
 * unequal numbers of ids and targets, or a token outside the vocabulary.
 */
export function* documentsFromJsonLines(
  lines: Iterable<string>,
  options: JsonLinesOptions,
): Generator<TrainingDocument, void, undefined> {
  let lineNumber = (options.firstLine ?? 1) - 1;
  for (const line of lines) {
    lineNumber++;
    if (line.trim() === '') continue;
    yield documentOf(line, options, (problem) => {
      return new FileError(options.path, `${options.path}, line ${lineNumber}: ${problem}`);
    });
  }
}

type LineError = (problem: string) => FileError;

function documentOf(line: string, options: JsonLinesOptions, error: LineError): TrainingDocument {
  const fields = parseLine(line, error);
  if ('text' in fields) return textDocument(fields.text, options, error);
  const { ids, targets } = fields;
  if (ids.length === 0) throw error(`"ids" is empty; it needs at least 1 token. Remove the line.`);
  if (ids.length !== targets.length) {
    throw error(
      `${ids.length} ids and ${targets.length} targets; there must be one target for each id. ` +
        `Use ${IGNORED_TARGET} where nothing is counted.`,
    );
  }
  checkTokens('ids', ids, options.vocabSize, error);
  checkTokens('targets', targets, options.vocabSize, error);
  return fields;
}

function parseLine(line: string, error: LineError): z.infer<typeof Line> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw error(`not JSON (${String(cause)}); each line must be one JSON object. ${REMEDY}`);
  }
  const parsed = Line.safeParse(value);
  if (parsed.success) return parsed.data;
  throw error(`${summary(value)}; it must be a document of text or of ids. ${REMEDY}`);
}

/** What a wrong line holds, in a few words. */
function summary(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `got ${kindOf(value)} instead of an object`;
  }
  const fields = Object.entries(value).map(([name, field]) => `${name} (${kindOf(field)})`);
  return fields.length === 0 ? 'got an empty object' : `got the fields ${fields.join(', ')}`;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) {
    return value.every(Number.isSafeInteger) ? 'array of integers' : 'array with other things';
  }
  return value === null ? 'null' : typeof value;
}

function textDocument(
  text: string,
  { encode, endOfTextId, vocabSize }: JsonLinesOptions,
  error: LineError,
): TrainingDocument {
  const ids = encode(text);
  if (ids.length === 0) throw error('"text" is empty; it needs at least 1 token. Remove the line.');
  checkTokens('text', ids, vocabSize, error);
  return { ids, targets: [...ids.slice(1), endOfTextId] };
}

function checkTokens(
  field: 'text' | 'ids' | 'targets',
  tokens: readonly number[],
  vocabSize: number,
  error: LineError,
): void {
  const isAllowed = (token: number) =>
    (token >= 0 && token < vocabSize) || (field === 'targets' && token === IGNORED_TARGET);
  const index = tokens.findIndex((token) => !isAllowed(token));
  if (index < 0) return;
  const ignored = field === 'targets' ? `, or ${IGNORED_TARGET} for not counted` : '';
  throw error(
    `token ${index} of "${field}" is ${tokens[index]}; it must lie in 0..${vocabSize - 1}` +
      `${ignored}. Use the tokenizer of the model.`,
  );
}
