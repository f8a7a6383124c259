/**
 * The settings of a run, checked together with the files that they name: what is wrong with the keys,
 * the model, the tokenizer and the data is told in one message.
 */
import type { z } from 'zod';
import { ConfigError, FileError, LoopLMError } from '../../errors.js';
import type { LoopLMConfig, ParsedModelConfig } from '../../model/index.js';
import { memoryFolder, readModelConfig } from '../../model/index.js';
import type { ShardFolder } from '../../platform/node/index.js';
import { isHubAddress, nodeFolder, openShards } from '../../platform/node/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { MIN_SYNTHETIC_VOCAB, syntheticTokenizerFiles } from '../../tokenizer/index.js';
import { stagesOf } from '../../train/index.js';
import { tellFaults } from '../../util/faults.js';
import { checkFields } from '../../util/parse-fields.js';
import type { TokenizerFiles } from '../tokenizer-files.js';
import { readTokenizerFiles } from '../tokenizer-files.js';
import type { Pull } from './data-file.js';
import { readDataFile } from './data-file.js';
import { parseModelSection } from './model-section.js';
import type { RunFile, ShardSetting } from './schema.js';
import { DATA_FORMATS, formatOf, runFileSchema, shardSettings } from './schema.js';
import { openConfigOf } from './train-config.js';

/** Settings that nothing is wrong with. */
export interface CheckedSettings {
  readonly file: RunFile;
  readonly model: ParsedModelConfig;
  readonly texts: TokenizerFiles;
  /** Content of the data's file, if they are one. */
  readonly dataText: string | undefined;
  /** The data's folders of shards, if they are some. */
  readonly shards: readonly ShardFolder[];
}

const NO_TOKENIZER: TokenizerFiles = {
  tokenizer: undefined,
  endOfTextId: undefined,
  texts: undefined,
  files: {},
  sha256: undefined,
};

/**
 * @param what - what to call the settings in messages.
 * @param at - the path of a name in them.
 * @param pull - for data on the hub.
 * @throws ConfigError that tells all that is wrong; FileError if that is a file that cannot be read.
 */
export async function checkSettings(
  json: unknown,
  what: string,
  at: (name: string) => string,
  pull?: Pull,
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
  const { key, path } = fileOf(start);
  const dataText =
    path === undefined
      ? undefined
      : await faults.collect(`data.${key}`, () =>
          readDataFile(isHubAddress(path) ? path : at(path), pull),
        );
  const shards = await openAll(faults, shardSettings(start), texts, at);
  if (model) checkTogether(faults, model.config, texts?.tokenizer, start);
  if (file) checkFile(faults, file, model?.config, asObject(json));
  faults.finish(what);
  return { file: file!, model: model!, texts: texts!, dataText, shards }; // no fault: all are there
}

/** The file that the data are in, if they are in one, and the key that names it. */
function fileOf({ path, chat }: Pick<Start, 'path' | 'chat'>) {
  return path === undefined ? { key: 'chat', path: chat } : { key: 'path', path };
}

/** Folders of shards, each of which must be made with the tokenizer of the run. */
async function openAll(
  faults: Faults,
  settings: readonly ShardSetting[],
  texts: TokenizerFiles | undefined,
  at: (name: string) => string,
): Promise<ShardFolder[]> {
  const folders: ShardFolder[] = [];
  for (const { path } of settings) {
    const folder = await faults.collect('data.shards', () => openShards(at(path)));
    if (!folder) continue;
    folders.push(folder);
    const made = folder.manifest.tokenizer.sha256;
    if (texts === undefined || made === texts.sha256) continue;
    faults.add(
      'data.shards',
      `${path} was made with tokenizer ${made}, and the run has ${texts.sha256 ?? 'none'}. Make it again with looplm tokenize, or name its tokenizer.`,
    );
  }
  return folders;
}

/** The keys that model, tokenizer and data follow from. */
interface Start {
  readonly path: string | undefined;
  readonly chat: string | undefined;
  readonly shards: RunFile['data']['shards'];
  readonly format: RunFile['data']['format'];
  readonly model: RunFile['model'];
  readonly from: string | undefined;
  readonly tokenizer: string | undefined;
  /** Positions of the rows of the data, and of the longest rows of all stages. */
  readonly length: number;
  readonly longest: number;
  /** Whether an adapter is trained, beside a model that stays as it is. */
  readonly hasAdapter: boolean;
}

/** Those keys where they are right, whatever others are. */
function startOf(json: unknown): Start {
  const { shape } = runFileSchema;
  const { path, chat, shards, format, length } = shape.data.shape;
  const settings = asObject(json);
  const data = asObject(settings['data']);
  const rowLength = valueOr(length.parse(undefined), length, data['length']);
  const stages = valueOr(undefined, shape.stages, settings['stages']) ?? [];
  return {
    model: valueOr(undefined, shape.model, settings['model']),
    from: valueOr(undefined, shape.from, settings['from']),
    tokenizer: valueOr(undefined, shape.tokenizer, settings['tokenizer']),
    path: valueOr(undefined, path, data['path']),
    chat: valueOr(undefined, chat, data['chat']),
    shards: valueOr(undefined, shards, data['shards']),
    format: valueOr(undefined, format, data['format']),
    length: rowLength,
    longest: Math.max(rowLength, ...stages.map((stage) => stage.length ?? 0)),
    hasAdapter: settings['lora'] !== undefined,
  };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function valueOr<T, U>(other: U, schema: z.ZodType<T>, value: unknown): T | U {
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : other;
}

/**
 * The tokenizer that is named, or that of the model to start from or of the shards, or one whose tokens
 * are bytes.
 */
async function tokenizerOf(start: Start, at: (name: string) => string): Promise<TokenizerFiles> {
  const name = start.tokenizer ?? start.from ?? shardSettings(start)[0]?.path;
  if (name === undefined) {
    // A vocabulary of one's own and no tokenizer: the data are ids.
    const isText = formatOf(start) === 'text' || start.chat !== undefined;
    if (start.model?.['vocab_size'] !== undefined && !isText) return NO_TOKENIZER;
    const files = new Map(
      Object.entries(syntheticTokenizerFiles(MIN_SYNTHETIC_VOCAB)).map(([key, content]) => [
        key,
        new TextEncoder().encode(content),
      ]),
    );
    return readTokenizerFiles(memoryFolder('the tokenizer of bytes', files));
  }
  const folder = nodeFolder(at(name));
  const texts = await readTokenizerFiles(folder);
  if (texts.tokenizer || start.tokenizer === undefined) return texts;
  throw new ConfigError(
    'tokenizer',
    `tokenizer is ${JSON.stringify(name)}, and there is no ${folder.path}/tokenizer.json. Name a folder with one.`,
  );
}

async function modelOf(
  start: Start,
  texts: TokenizerFiles | undefined,
  at: (name: string) => string,
): Promise<ParsedModelConfig> {
  if (start.from !== undefined) {
    const parsed = await readModelConfig(nodeFolder(at(start.from)));
    return start.hasAdapter ? parsed : withPositions(parsed, start.longest);
  }
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

/** A start with room for the longest rows: its angles are known at any position. */
function withPositions(parsed: ParsedModelConfig, longest: number): ParsedModelConfig {
  const { config } = parsed;
  const maxPositionEmbeddings = Math.max(config.maxPositionEmbeddings, longest);
  return { ...parsed, config: { ...config, maxPositionEmbeddings } };
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

function checkFile(
  faults: Faults,
  file: RunFile,
  model: LoopLMConfig | undefined,
  written: Readonly<Record<string, unknown>>,
): void {
  const { path, chat, shards } = file.data;
  const given = Object.entries({ path, chat, shards }).filter(([, value]) => value !== undefined);
  if (given.length !== 1) {
    const names = given.map(([name]) => `data.${name}`).join(' and ');
    const got = given.length === 0 ? 'data names nothing' : `${names} are given together`;
    faults.add('data', `${got}; give one of path, chat and shards.`);
  }
  if (path !== undefined && formatOf(file.data) === undefined) {
    const ends = Object.values(DATA_FORMATS).flat().join(', ');
    faults.add(
      'data.format',
      `data.format is missing, and ${JSON.stringify(file.data.path)} does not end in ${ends}. Give "jsonl" or "text".`,
    );
  }
  if (file.lora && file.from === undefined) {
    faults.add(
      'lora',
      'lora is given without from: an adapter is trained beside the weights of a model that is there. Name its folder in from, or leave lora out.',
    );
  }
  checkMixture(faults, file);
  checkEpochs(faults, file, written);
  checkUnused(faults, file, written);
  if (model) faults.try('stages', () => stagesOf(openConfigOf(file, model)));
}

/** Weights of sources: only shards are several, and each weight is of one of them. */
function checkMixture(faults: Faults, { mixture, stages = [], data }: RunFile): void {
  const places = [
    ['mixture', mixture] as const,
    ...stages.map((stage, index) => [`stages.${index}.mixture`, stage.mixture] as const),
  ];
  const names = shardSettings(data).map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  for (const [place, weights] of places) {
    if (weights === undefined) continue;
    if (twice !== undefined) {
      faults.add(
        place,
        `${place} weighs shards by name, and two of them are named ${JSON.stringify(twice)}. Give each a name of its own in data.shards.`,
      );
      continue;
    }
    if (names.length === 0) {
      const what = JSON.stringify(data.path ?? data.chat);
      const problem = `weighs data sources, and the data are one, ${what}`;
      faults.add(place, `${place} ${problem}. Leave it out.`);
      continue;
    }
    const unknown = Object.keys(weights).find((name) => !names.includes(name));
    if (unknown === undefined) continue;
    faults.add(
      place,
      `${place} weighs ${JSON.stringify(unknown)}, and the shards are ${names.join(', ')}. Use these names.`,
    );
  }
}

/** Epochs are counted where every row comes once an epoch, and updates are of one size. */
function checkEpochs(
  faults: Faults,
  { data, stages, accumulate }: RunFile,
  written: Readonly<Record<string, unknown>>,
): void {
  if (data.epochs === undefined) return;
  if (written['trainSteps'] !== undefined) {
    faults.add(
      'data.epochs',
      'data.epochs and trainSteps are both given, and both say how long to train. Give one of them.',
    );
  }
  const problems = [
    data.path !== undefined && 'of data.path rows are drawn',
    shardSettings(data).length > 1 && 'several shards have epochs of their own',
    data.order !== 'epochs' && 'data.order is "replacement"',
    stages !== undefined && 'there are stages',
    typeof accumulate !== 'number' && 'accumulate changes',
  ].filter((problem) => problem !== false);
  for (const problem of problems) {
    faults.add(
      'data.epochs',
      `data.epochs is given, and ${problem}. Give trainSteps in its place.`,
    );
  }
}

/** Keys that are written and would change nothing. */
function checkUnused(
  faults: Faults,
  { data, validation, keepStages, stages, outer }: RunFile,
  written: Readonly<Record<string, unknown>>,
): void {
  if (data.path !== undefined && asObject(written['data'])['order'] !== undefined) {
    faults.add(
      'data.order',
      `data.order is "${data.order}", and rows of data.path are always drawn. Leave it out, or make shards with looplm tokenize.`,
    );
  }
  if (keepStages && (stages === undefined || outer !== undefined)) {
    const why =
      outer === undefined ? 'there are no stages' : 'machines that train together keep none';
    faults.add('keepStages', `keepStages is true, and ${why}. Leave it out.`);
  }
  const fraction = asObject(written['validation'])['fraction'];
  if (data.shards !== undefined && fraction !== undefined && validation.fraction !== 0) {
    faults.add(
      'validation.fraction',
      `validation.fraction is ${validation.fraction}, and of shards looplm tokenize has chosen what is held out (--held-out). Leave it out, or say 0 for no validation.`,
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
