/**
 * The settings of a run, checked together with the files that they name: what is wrong with the keys,
 * the model, the tokenizer and the data is told in one message.
 */
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { ConfigError, FileError, LoopLMError } from '../../errors.js';
import { loadTextFiles } from '../../text/index.js';
import type { Folder, LoopLMConfig, ParsedModelConfig } from '../../model/index.js';
import { memoryFolder, readModelConfig } from '../../model/index.js';
import { nodeFolder, readTextFile } from '../../platform/node/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { MIN_SYNTHETIC_VOCAB, syntheticTokenizerFiles } from '../../tokenizer/index.js';
import { stagesOf } from '../../train/index.js';
import { tellFaults } from '../../util/faults.js';
import { checkFields } from '../../util/parse-fields.js';
import { parseModelSection } from './model-section.js';
import type { RunFile } from './schema.js';
import { DATA_FORMATS, formatOf, runFileSchema } from './schema.js';
import { trainConfigOf } from './train-config.js';

/** Settings that nothing is wrong with. */
export interface CheckedSettings {
  readonly file: RunFile;
  readonly model: ParsedModelConfig;
  readonly texts: TokenizerFiles;
  /** Content of the data's file. */
  readonly dataText: string;
}

/** The tokenizer of a run, and the files that are written beside the trained weights. */
export interface TokenizerFiles {
  readonly tokenizer: Tokenizer | undefined;
  /** Token that ends a text. */
  readonly endOfTextId: number | undefined;
  /** Text by file name. */
  readonly files: Readonly<Record<string, string>>;
  /** Of tokenizer.json, shortened. */
  readonly sha256: string | undefined;
}

const NO_TOKENIZER: TokenizerFiles = {
  tokenizer: undefined,
  endOfTextId: undefined,
  files: {},
  sha256: undefined,
};

/**
 * @param what - what to call the settings in messages.
 * @param at - the path of a name in them.
 * @throws ConfigError that tells all that is wrong; FileError if that is a file that cannot be read.
 */
export async function checkSettings(
  json: unknown,
  what: string,
  at: (name: string) => string,
): Promise<CheckedSettings> {
  const faults = new Faults();
  const checked = checkFields(runFileSchema, json, what);
  const file = 'data' in checked ? checked.data : undefined;
  if ('faults' in checked) {
    for (const { path, sentence } of checked.faults) faults.add(path, sentence);
  }
  const start = startOf(json);
  if (start.model !== undefined && start.from !== undefined) {
    faults.add('model', 'model and from are both given; give one of them.');
  }
  const texts = await faults.collect('tokenizer', () => tokenizerOf(start, at));
  const model = await faults.collect('model', () => modelOf(start, texts, at));
  const { path } = start;
  const dataText =
    path === undefined
      ? undefined
      : await faults.collect('data.path', () => readTextFile(at(path)));
  if (model) checkTogether(faults, model.config, texts?.tokenizer, start);
  if (file) checkFile(faults, file, model?.config);
  faults.finish(what);
  return { file: file!, model: model!, texts: texts!, dataText: dataText! }; // no fault: all are there
}

/** The keys that model, tokenizer and data follow from. */
interface Start {
  readonly path: string | undefined;
  readonly format: RunFile['data']['format'];
  readonly model: RunFile['model'];
  readonly from: string | undefined;
  readonly tokenizer: string | undefined;
  /** Positions of the rows of the data, and of the longest rows of all stages. */
  readonly length: number;
  readonly longest: number;
}

/** Those keys where they are right, whatever others are. */
function startOf(json: unknown): Start {
  const { shape } = runFileSchema;
  const { path, format, length } = shape.data.shape;
  const settings = asObject(json);
  const data = asObject(settings['data']);
  const rowLength = valueOr(length.parse(undefined), length, data['length']);
  const stages = valueOr(undefined, shape.stages, settings['stages']) ?? [];
  return {
    model: valueOr(undefined, shape.model, settings['model']),
    from: valueOr(undefined, shape.from, settings['from']),
    tokenizer: valueOr(undefined, shape.tokenizer, settings['tokenizer']),
    path: valueOr(undefined, path, data['path']),
    format: valueOr(undefined, format, data['format']),
    length: rowLength,
    longest: Math.max(rowLength, ...stages.map((stage) => stage.length ?? 0)),
  };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function valueOr<T, U>(other: U, schema: z.ZodType<T>, value: unknown): T | U {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : other;
}

/** Files of a tokenizer that are written beside the trained weights. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;

/** The tokenizer that is named, or that of the model to start from, or one whose tokens are bytes. */
async function tokenizerOf(start: Start, at: (name: string) => string): Promise<TokenizerFiles> {
  const name = start.tokenizer ?? start.from;
  if (name === undefined) {
    // A vocabulary of one's own and no tokenizer: the data are ids.
    const isText = formatOf(start) === 'text';
    if (start.model?.['vocab_size'] !== undefined && !isText) return NO_TOKENIZER;
    const files = new Map(
      Object.entries(syntheticTokenizerFiles(MIN_SYNTHETIC_VOCAB)).map(([key, content]) => [
        key,
        new TextEncoder().encode(content),
      ]),
    );
    return readTokenizer(memoryFolder('the tokenizer of bytes', files));
  }
  const folder = nodeFolder(at(name));
  const texts = await readTokenizer(folder);
  if (texts.tokenizer || start.tokenizer === undefined) return texts;
  throw new ConfigError(
    'tokenizer',
    `tokenizer is ${JSON.stringify(name)}, and there is no ${folder.path}/tokenizer.json. Name a folder with one.`,
  );
}

async function readTokenizer(folder: Folder): Promise<TokenizerFiles> {
  const { tokenizer, tokenizerConfig } = await loadTextFiles(folder);
  const files: Record<string, string> = {};
  for (const file of TOKENIZER_FILES) {
    if (await folder.exists(file)) files[file] = await folder.readText(file);
  }
  const json = files['tokenizer.json'];
  return {
    tokenizer,
    endOfTextId: tokenizer?.tokenToId(tokenizerConfig.eosToken ?? '<|endoftext|>'),
    files,
    sha256: json && createHash('sha256').update(json).digest('hex').slice(0, 16),
  };
}

async function modelOf(
  start: Start,
  texts: TokenizerFiles | undefined,
  at: (name: string) => string,
): Promise<ParsedModelConfig> {
  if (start.from !== undefined) return readModelConfig(nodeFolder(at(start.from)));
  const parsed = parseModelSection(start.model ?? {}, {
    name: 'model',
    // A tokenizer that cannot be read is a fault of its own, and none of the model.
    vocabSize: texts ? texts.tokenizer?.vocabSize : MIN_SYNTHETIC_VOCAB,
    endOfTextId: texts?.endOfTextId,
    length: start.longest,
  });
  const { ignoredKeys } = parsed;
  if (ignoredKeys.length === 0) return parsed;
  throw new ConfigError(
    'model',
    `model has keys that looplm does not know: ${ignoredKeys.join(', ')}. Remove them.`,
  );
}

/** What concerns several keys at once. */
function checkTogether(
  faults: Faults,
  { vocabSize, maxPositionEmbeddings }: LoopLMConfig,
  tokenizer: Tokenizer | undefined,
  start: Start,
): void {
  if (tokenizer && tokenizer.vocabSize > vocabSize) {
    faults.add(
      'model.vocab_size',
      `The tokenizer has ${tokenizer.vocabSize} tokens and the model ${vocabSize}; the model needs at least as many. Raise vocab_size, or leave it out.`,
    );
  }
  if (start.length > maxPositionEmbeddings) {
    faults.add(
      'data.length',
      `data.length is ${start.length}, and the model has ${maxPositionEmbeddings} positions (max_position_embeddings). Shorten the rows, or give it more positions.`,
    );
  }
}

function checkFile(faults: Faults, file: RunFile, model: LoopLMConfig | undefined): void {
  if (formatOf(file.data) === undefined) {
    const ends = Object.values(DATA_FORMATS).flat().join(', ');
    faults.add(
      'data.format',
      `data.format is missing, and ${JSON.stringify(file.data.path)} does not end in ${ends}. Give "jsonl" or "text".`,
    );
  }
  checkMixture(faults, file);
  if (model) faults.try('stages', () => stagesOf(trainConfigOf(file, model, {})));
}

/** Weights of sources, which one file of data has none of. */
function checkMixture(faults: Faults, { mixture, stages = [], data }: RunFile): void {
  const places = stages.flatMap((stage, index) =>
    stage.mixture ? [`stages.${index}.mixture`] : [],
  );
  for (const place of mixture ? ['mixture', ...places] : places) {
    faults.add(
      place,
      `${place} weighs data sources, and the data are one, ${JSON.stringify(data.path)}. Leave it out.`,
    );
  }
}

/** Gathers what is wrong. */
class Faults {
  readonly #found: { readonly field: string; readonly sentence: string }[] = [];
  /** The first file that cannot be read. */
  #fileError: FileError | undefined;

  add(field: string, sentence: string): void {
    this.#found.push({ field, sentence });
  }

  /** What the task gives; what it finds wrong is noted, and undefined given. */
  async collect<T>(field: string, task: () => Promise<T>): Promise<T | undefined> {
    return task().catch((error: unknown) => this.#note(field, error));
  }

  /** The same for what is checked at once. */
  try(field: string, task: () => void): void {
    try {
      task();
    } catch (error) {
      this.#note(field, error);
    }
  }

  #note(field: string, error: unknown): undefined {
    if (!(error instanceof LoopLMError)) throw error;
    if (error instanceof FileError) this.#fileError ??= error;
    const sentences = error instanceof ConfigError ? error.faults : [error.message];
    const name = sentences.length > 1 ? `${field}: ` : '';
    for (const sentence of sentences) this.add(field, `${name}${sentence}`);
  }

  /** @throws ConfigError if anything is wrong; FileError if it is one file, and nothing else */
  finish(what: string): void {
    const [first, ...others] = this.#found;
    if (first === undefined) return;
    if (this.#fileError && others.length === 0) throw this.#fileError;
    const faults = this.#found.map(({ sentence }) => sentence);
    const message = `${tellFaults(what, faults)} See looplm train --help for all keys.`;
    throw new ConfigError(first.field, message, { faults });
  }
}
