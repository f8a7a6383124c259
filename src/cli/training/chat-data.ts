/**
 * A file of conversations as the data of a run: what the assistant says is learnt, and nothing else.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { ChatLine, TrainingDocument } from '../../data/index.js';
import {
  CHAT_SHAPES,
  chatLines,
  cutToRows,
  documentRows,
  holdOut,
  mixtureSource,
} from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import { stopTokensOf } from '../../text/index.js';
import type { TokenizerFiles } from '../tokenizer-files.js';
import type { RunData, RunDataOptions } from './run-data.js';
import { LINES_AT_ONCE, countTokens, rest, seedOf, validationOf } from './run-data.js';
import type { RunFile } from './schema.js';

/**
 * @throws ConfigError without a chat template, or if there is nothing to train on; FileError for a line
 *   that is no conversation; the signal's reason when it aborts.
 */
export async function readChatData(
  file: RunFile,
  text: string,
  files: TokenizerFiles,
  { config, onProgress, signal }: RunDataOptions,
): Promise<RunData> {
  const { chat: path = '', rows, length, order } = file.data;
  const { tokenizer, endOfTextId, texts } = files;
  if (!tokenizer || !texts?.chatTemplate || endOfTextId === undefined) {
    const lacking = tokenizer
      ? endOfTextId === undefined
        ? 'no eos_token'
        : 'no chat template'
      : 'no tokenizer.json';
    throw new ConfigError(
      'data.chat',
      `${path} holds conversations, and the start has ${lacking}; chat needs one. Add it to the folder, or name a tokenizer that has it.`,
    );
  }
  const lines = text.split('\n');
  const read: ChatLine[] = [];
  let done = 0;
  for (let first = 0; first < lines.length; first += LINES_AT_ONCE) {
    await rest(signal);
    const part = lines.slice(first, first + LINES_AT_ONCE);
    read.push(
      ...chatLines(part, {
        path,
        firstLine: first + 1,
        template: texts.chatTemplate,
        tokenizer,
        stopIds: stopTokensOf(texts, config).map(({ id }) => id),
        endOfTextId,
      }),
    );
    done += part.reduce((sum, line) => sum + line.length + 1, 0);
    onProgress(Math.min(done, text.length), text.length);
  }
  const isHeldOut = holdOut(
    read.map((line) => line.text),
    file.validation.fraction,
  );
  const documentsWhere = (side: boolean): TrainingDocument[] =>
    read.flatMap(({ documents }, index) => (isHeldOut[index] === side ? documents : []));
  const [training, heldOut] = [documentsWhere(false), documentsWhere(true)];
  if (cutToRows(training, length).length === 0) {
    const why =
      read.length === 0
        ? `it needs one conversation a line: ${CHAT_SHAPES}`
        : `nothing that counts fits a row of ${length} tokens, or all is held out; raise data.length, or lower validation.fraction`;
    throw new ConfigError('data.chat', `${path} holds nothing to train on: ${why}.`);
  }
  const rowsOf = (size: number) => documentRows(path, cutToRows(training, size), size);
  return {
    sourceOf(stage) {
      const size = { rows: stage.rows ?? rows, length: stage.length ?? length };
      return mixtureSource({
        ...size,
        sets: [rowsOf(size.length)],
        seed: seedOf(file.seed, stage.index ?? 0),
        order,
        padId: config.padTokenId,
      });
    },
    numRows: rowsOf(length).numRows,
    validation: validationOf(file, cutToRows(heldOut, length)),
    description: {
      file: basename(path),
      sha256: shortHash(text),
      chatTemplate: shortHash(texts.chatTemplate.source),
      tokens: countTokens(training),
      heldOutTokens: countTokens(heldOut),
      cutAtRowEnd: training.filter(({ ids }) => ids.length > length).length,
      rows,
      length,
      order,
      fraction: file.validation.fraction,
    },
  };
}

const shortHash = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);
