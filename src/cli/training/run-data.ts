/**
 * The data of a run: documents to train on, and documents that are held out to tell how well it
 * goes on texts that the model never saw.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { BatchSource, TrainingDocument } from '../../data/index.js';
import { generatedSource, holdOut, textDocuments, windowsOf } from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import type { Stage, TrainConfig } from '../../train/index.js';
import { documentsOfLines, noDocuments } from '../documents.js';
import { formatOf, type RunFile } from './schema.js';

/** What data may need to know of a stage; rows and positions where they are not those of the data. */
export type DataStage = Partial<
  Pick<Stage, 'index' | 'rows' | 'length' | 'trainSteps' | 'accumulate' | 'mixture'>
>;

export interface RunData {
  readonly sourceOf: (stage: DataStage) => BatchSource;
  /** Rows that hold all of it once, where that can be said. */
  readonly numRows?: number;
  /** Documents that are not trained on. */
  readonly validation: readonly TrainingDocument[];
  /** See `TrainConfig`. */
  readonly description: TrainConfig['data'];
}

export interface RunDataOptions {
  readonly config: LoopLMConfig;
  readonly tokenizer: Tokenizer | undefined;
  /** Called while texts become tokens. */
  readonly onProgress: (doneCharacters: number, totalCharacters: number) => void;
  readonly signal: AbortSignal;
}

interface Documents {
  readonly training: readonly TrainingDocument[];
  readonly heldOut: readonly TrainingDocument[];
}

/**
 * The data of a run from the text of its file.
 *
 * @throws FileError for a line that is no document; ConfigError if there is nothing to train on; the
 *   signal's reason when it aborts.
 */
export async function readRunData(
  file: RunFile,
  text: string,
  options: RunDataOptions,
): Promise<RunData> {
  const { path = '', rows, length } = file.data;
  const { padTokenId } = options.config;
  const read = formatOf(file.data) === 'text' ? fromText : fromLines;
  const { training, heldOut } = await read(file, text, options);
  if (training.length === 0) {
    const why = heldOut.length > 0 ? 'all of it is held out' : 'it is empty';
    throw new ConfigError(
      'data.path',
      `${path} holds nothing to train on: ${why}. Give more text, or lower validation.fraction.`,
    );
  }
  return {
    sourceOf: (size) =>
      generatedSource({
        documents: windowsOf(training, size.length ?? length),
        rows: size.rows ?? rows,
        length: size.length ?? length,
        seed: file.seed,
        ...(padTokenId !== undefined && { padId: padTokenId }),
      }),
    validation: validationOf(file, heldOut),
    description: {
      file: basename(path),
      sha256: createHash('sha256').update(text).digest('hex').slice(0, 16),
      tokens: countTokens(training),
      heldOutTokens: countTokens(heldOut),
      rows,
      length,
      fraction: file.validation.fraction,
    },
  };
}

/** The first held-out tokens, in pieces no longer than the rows that are trained on, with labels. */
export function validationOf(
  { data: { length }, validation: { maxTokens } }: RunFile,
  heldOut: Iterable<TrainingDocument>,
): readonly TrainingDocument[] {
  const documents: TrainingDocument[] = [];
  let left = maxTokens;
  for (const { ids, targets } of heldOut) {
    if (left <= 0) break;
    for (let start = 0; start < ids.length && left > 0; start += length) {
      const end = Math.min(start + length, start + left);
      documents.push({ ids: ids.slice(start, end), targets: targets.slice(start, end) });
      left -= documents.at(-1)!.ids.length;
    }
  }
  return documents.filter(({ targets }) => targets.some((target) => target >= 0));
}

/** Of the order of rows in a stage: each begins with rows of its own. */
export const seedOf = (seed: number, stageIndex: number) => (seed + stageIndex) >>> 0;

/** Positions of documents. */
export const countTokens = (documents: readonly TrainingDocument[]) =>
  documents.reduce((sum, { ids }) => sum + ids.length, 0);

/** One long text. */
async function fromText(
  { data: { path = '' }, validation: { fraction } }: RunFile,
  text: string,
  { config, tokenizer, onProgress, signal }: RunDataOptions,
): Promise<Documents> {
  const [endOfTextId] = config.eosTokenIds;
  if (tokenizer === undefined || endOfTextId === undefined) {
    const lacking = tokenizer ? 'model has no eos_token_id' : 'start has no tokenizer.json';
    throw new ConfigError(
      'tokenizer',
      `${path} is a text, and the ${lacking}. Add it, or give a tokenizer.`,
    );
  }
  let done = 0;
  const encode = async (block: string) => {
    await rest(signal);
    const ids = tokenizer.encode(block, { unencodable: 'replace' });
    onProgress((done += block.length), text.length);
    return ids;
  };
  return textDocuments(text, { encode, endOfTextId, heldOutFraction: fraction });
}

/** Lines that become tokens at once: few enough that Ctrl-C is heard between. */
export const LINES_AT_ONCE = 64;

/** A document a line. */
async function fromLines(
  { data: { path = '' }, validation: { fraction } }: RunFile,
  text: string,
  { config, tokenizer, onProgress, signal }: RunDataOptions,
): Promise<Documents> {
  const lines = text.split('\n');
  const documents: TrainingDocument[] = [];
  let done = 0;
  for (let first = 0; first < lines.length; first += LINES_AT_ONCE) {
    await rest(signal);
    const part = lines.slice(first, first + LINES_AT_ONCE);
    documents.push(...documentsOfLines(part, first, { path, config, tokenizer, labelsEnd: true }));
    done += part.reduce((sum, line) => sum + line.length + 1, 0);
    onProgress(Math.min(done, text.length), text.length);
  }
  if (documents.length === 0) throw noDocuments(path);
  // Each is JSON, as it became a document; spaces between its parts are no difference.
  const texts = lines
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.stringify(JSON.parse(line)));
  const isHeldOut = holdOut(texts, fraction);
  return {
    training: documents.filter((_, index) => !isHeldOut[index]),
    heldOut: documents.filter((_, index) => isHeldOut[index]),
  };
}

/** Lets Ctrl-C be heard. */
export async function rest(signal: AbortSignal): Promise<void> {
  await setImmediate();
  signal.throwIfAborted();
}
