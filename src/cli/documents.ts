/**
 * Lines of JSON as labelled documents, for training and evaluation.
 *
 * To the forms that the library reads, `{"text"}` and `{"ids", "targets"}`, a third is added here:
 * `{"prompt", "answer"}`, in which only the answer counts.
 */
import { z } from 'zod';
import type { TrainingDocument } from '../data/index.js';
import { IGNORED_TARGET, documentsFromJsonLines } from '../data/index.js';
import { ConfigError, FileError } from '../errors.js';
import type { LoopLMConfig } from '../model/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import { checkFields } from '../util/parse-fields.js';

/** The forms of a line, for help texts. */
export const LINE_FORMS =
  '{"prompt": ..., "answer": ...}, {"text": ...} or {"ids": [...], "targets": [...]}';

export interface DocumentsOptions {
  /** Name of the file, for messages. */
  readonly path: string;
  readonly config: LoopLMConfig;
  readonly tokenizer: Tokenizer | undefined;
  /** Whether an answer is followed by a label for the end of the text. */
  readonly labelsEnd: boolean;
  /** Tokens that a document may have. Default: any number. */
  readonly maxLength?: number;
}

const TEXT_RULE = 'it must be a text';
const problemSchema = z.strictObject({ prompt: z.string(TEXT_RULE), answer: z.string(TEXT_RULE) });

/**
 * The documents of a JSONL text, one a line.
 *
 * @throws FileError for a line in none of the forms, without a prompt or an answer, or too long.
 * @throws ConfigError if texts lack a tokenizer or an end-of-text id, or there is no document.
 */
export function readDocuments(text: string, options: DocumentsOptions): TrainingDocument[] {
  const documents = documentsOfLines(text.split('\n'), 0, options);
  if (documents.length > 0) return documents;
  throw noDocuments(options.path);
}

/** A file in which there is nothing to read. */
export function noDocuments(path: string): ConfigError {
  return new ConfigError('data', `${path} holds no documents; it needs one a line: ${LINE_FORMS}.`);
}

/** The documents of some lines of a file, for whom all at once would take too long. Throws as above. */
export function documentsOfLines(
  part: readonly string[],
  firstIndex: number,
  options: DocumentsOptions,
): TrainingDocument[] {
  const { path, config, tokenizer } = options;
  const endOfTextId = config.eosTokenIds[0] ?? tokenizer?.specialTokens.get('<|endoftext|>');
  const encode = (words: string): readonly number[] => {
    if (!tokenizer) {
      throw new ConfigError(
        'tokenizer',
        `${path} holds texts, and there is no tokenizer.json; add it, or use lines of ids and targets.`,
      );
    }
    if (endOfTextId === undefined) {
      throw new ConfigError(
        'eos_token_id',
        `${path} holds texts, and the model has no eos_token_id for their end; add it to config.json.`,
      );
    }
    return tokenizer.encode(words, { unencodable: 'replace' });
  };
  const lines = part.map((line, index) => {
    const problem = problemOf(line, (fault) => lineError(path, firstIndex + index, fault));
    if (!problem) return line;
    for (const field of ['prompt', 'answer'] as const) {
      if (problem[field] !== '') continue;
      throw lineError(
        path,
        firstIndex + index,
        `"${field}" is empty; it needs at least 1 token. Remove the line.`,
      );
    }
    const end = options.labelsEnd && endOfTextId !== undefined ? [endOfTextId] : [];
    return JSON.stringify(labelled(encode(problem.prompt), [...encode(problem.answer), ...end]));
  });
  const lineOptions = {
    path,
    encode,
    endOfTextId: endOfTextId ?? 0,
    vocabSize: config.vocabSize,
    firstLine: firstIndex + 1,
  };
  const documents = [...documentsFromJsonLines(lines, lineOptions)];
  checkLengths(documents, lines, firstIndex, options);
  return documents;
}

function checkLengths(
  documents: readonly TrainingDocument[],
  lines: readonly string[],
  firstIndex: number,
  { path, maxLength = Infinity }: DocumentsOptions,
): void {
  const tooLong = documents.findIndex(({ ids }) => ids.length > maxLength);
  if (tooLong < 0) return;
  const filled = [...lines.keys()].filter((index) => lines[index]!.trim() !== '');
  throw lineError(
    path,
    firstIndex + filled[tooLong]!,
    `the document has ${documents[tooLong]!.ids.length} tokens; the model's context holds ${maxLength}. Cut it into several lines.`,
  );
}

function lineError(path: string, index: number, problem: string): FileError {
  return new FileError(path, `${path}, line ${index + 1}: ${problem}`);
}

/** The problem of a line; undefined for every other form, which the library judges. */
function problemOf(
  line: string,
  error: (fault: string) => FileError,
): z.output<typeof problemSchema> | undefined {
  if (!/"(prompt|answer)"/.test(line)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (!('prompt' in value || 'answer' in value)) return undefined;
  const checked = checkFields(problemSchema, value, 'the line');
  if ('data' in checked) return checked.data;
  const [fault] = checked.faults;
  throw error(`${fault!.sentence.replace(/\.$/, '')}. A line is one of ${LINE_FORMS}.`);
}

/** Each token of the answer is the target of the token before it. */
function labelled(
  prompt: readonly number[],
  answer: readonly number[],
): { ids: readonly number[]; targets: readonly number[] } {
  return {
    ids: [...prompt, ...answer].slice(0, -1),
    targets: [...prompt.slice(1).map(() => IGNORED_TARGET), ...answer],
  };
}
