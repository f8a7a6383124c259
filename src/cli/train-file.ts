/**
 * A training run described by a JSON file: model, data, objective and schedule.
 *
 * Everything that decides the result is in the file; unknown keys are errors. Paths are relative to
 * the file's folder. The file becomes the library's `TrainConfig` and a batch source.
 */
import { createHash } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { z } from 'zod';
import type { BatchSource, TrainingDocument } from '../data/index.js';
import { generatedSource } from '../data/index.js';
import { ConfigError } from '../errors.js';
import { loadTokenizer } from '../loop-lm.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { initializeWeights, loadCheckpoint, parseModelConfig } from '../model/index.js';
import { nodeFolder, readTextFile } from '../platform/node/index.js';
import type { Tokenizer } from '../tokenizer/index.js';
import type { TrainConfig } from '../train/index.js';
import { readDocuments } from './documents.js';
import type { TrainingRun } from './training.js';

const count = z.int().min(1);
const wholeOrZero = z.int().min(0);
const fraction = z.number().min(0).max(1);

const objectiveSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('stage-1'), beta: z.number().min(0) }),
  z.strictObject({
    kind: z.literal('stage-2'),
    target: z.enum(['published', 'forward']),
    k: z.number().positive().default(50),
    gamma: z.number().default(0.005),
  }),
  z.strictObject({ kind: z.literal('last-loop') }),
]);

const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('constant'), warmupTrainSteps: wholeOrZero }),
  z.strictObject({
    kind: z.literal('cosine'),
    warmupTrainSteps: wholeOrZero,
    finalFraction: fraction,
  }),
  z.strictObject({
    kind: z.literal('wsd'),
    warmupTrainSteps: wholeOrZero,
    decayTrainSteps: count,
    finalFraction: fraction,
  }),
]);

const optimizerSchema = z.strictObject({
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.95),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.1),
  clipNorm: z.union([z.number().positive(), z.literal('off')]).default(1),
});

const fileSchema = z.strictObject({
  /** A fresh model of this config, in the form of config.json. */
  model: z.record(z.string(), z.unknown()).optional(),
  /** Instead of `model`: a model folder to start from. */
  from: z.string().optional(),
  /** Folder with tokenizer.json; may be left out with `from`, and for data of ids. */
  tokenizer: z.string().optional(),
  data: z.strictObject({ path: z.string(), rows: count, length: count }),
  /** Of fresh weights and of the order of the data. */
  seed: z.int().min(0).max(0xffff_ffff).default(0),
  objective: objectiveSchema,
  optimizer: optimizerSchema.prefault({}),
  learningRate: z.number().positive(),
  schedule: scheduleSchema.default({ kind: 'constant', warmupTrainSteps: 0 }),
  trainSteps: count,
  accumulate: count.default(1),
  recompute: z.enum(['none', 'readout', 'loop']).default('none'),
  logEvery: count.default(10),
  snapshotEvery: count.default(100),
  dtype: z.enum(['f32', 'bf16', 'f16']).default('f32'),
});

type TrainFile = z.output<typeof fileSchema>;

/** An example that shows every key, for the help. */
export const TRAIN_FILE_EXAMPLE = `{
  "model": { ...as in config.json... },     or "from": "folder of a model to start from"
  "tokenizer": "folder with tokenizer.json",
  "data": { "path": "data.jsonl", "rows": 16, "length": 256 },
  "seed": 0,
  "objective": { "kind": "stage-1", "beta": 0.1 },   or "last-loop",
                                            or "stage-2" with "target": "published" | "forward"
  "optimizer": { "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0.1, "clipNorm": 1 },
  "learningRate": 0.001,
  "schedule": { "kind": "cosine", "warmupTrainSteps": 100, "finalFraction": 0.1 },
  "trainSteps": 2000, "accumulate": 1, "recompute": "none" | "readout" | "loop",
  "logEvery": 10, "snapshotEvery": 100, "dtype": "f32" | "bf16" | "f16"
}`;

/**
 * Reads a run's file and everything it names.
 *
 * @throws FileError if a file is missing or the data has a wrong line.
 * @throws ConfigError for a key that is missing, unknown or out of range.
 */
export async function readTrainFile(path: string): Promise<TrainingRun> {
  const file = parseFile(path, await readTextFile(path));
  const at = (name: string) => resolve(dirname(path), name);
  const { config: model, weights } = await startOf(path, file, at);
  const { tokenizer, extraFiles } = await tokenizerOf(file, at);
  checkVocabulary(path, model, tokenizer);
  const { data, seed } = file;
  const text = await readTextFile(at(data.path));
  const documents = readDocuments(text, {
    path: at(data.path),
    config: model,
    tokenizer,
    labelsEnd: true,
  }).flatMap((document) => pieces(document, data.length));
  const { objective, optimizer, learningRate, schedule, trainSteps } = file;
  const { accumulate, recompute, logEvery, snapshotEvery, dtype } = file;
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const config: TrainConfig = {
    model,
    objective,
    optimizer,
    learningRate,
    schedule,
    trainSteps,
    accumulate,
    recompute,
    logEvery,
    snapshotEvery,
    evaluateEvery: trainSteps,
    data: `${documents.length} documents of ${data.path} (sha256 ${hash}), seed ${seed}, ${data.rows} x ${data.length}`,
  };
  return { config, source: sourceOf(documents, file, model), weights, extraFiles, dtype };
}

function parseFile(path: string, text: string): TrainFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(path, `${path} is not valid JSON (${String(cause)}). Correct it.`, {
      cause,
    });
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const field = issue.path.map(String).join('.');
    throw new ConfigError(
      field,
      `${path}: ${field === '' ? '' : `${field}: `}${issue.message}. See looplm train --help for all keys.`,
    );
  }
  if ((parsed.data.model === undefined) === (parsed.data.from === undefined)) {
    const got = parsed.data.model === undefined ? 'neither' : 'both';
    throw new ConfigError('model', `${path} has ${got} of "model" and "from"; give one of them.`);
  }
  return parsed.data;
}

interface Start {
  readonly config: LoopLMConfig;
  readonly weights: ModelWeights;
}

async function startOf(
  path: string,
  file: TrainFile,
  at: (name: string) => string,
): Promise<Start> {
  if (file.from !== undefined) return loadCheckpoint(nodeFolder(at(file.from)));
  const { config, ignoredKeys } = parseModelConfig(file.model, `${path}, model`);
  if (ignoredKeys.length > 0) {
    throw new ConfigError(
      `model.${ignoredKeys[0]}`,
      `${path}: model has keys that looplm does not know: ${ignoredKeys.join(', ')}. Remove them.`,
    );
  }
  return { config, weights: initializeWeights(config, file.seed) };
}

/** Files of the tokenizer that are written beside the trained weights. */
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;

async function tokenizerOf(
  { tokenizer: named, from }: TrainFile,
  at: (name: string) => string,
): Promise<{ tokenizer: Tokenizer | undefined; extraFiles: Readonly<Record<string, string>> }> {
  const name = named ?? from;
  if (name === undefined) return { tokenizer: undefined, extraFiles: {} };
  const folder = nodeFolder(at(name));
  const tokenizer = await loadTokenizer(folder);
  if (!tokenizer && named !== undefined) {
    throw new ConfigError(
      'tokenizer',
      `${folder.path} has no tokenizer.json; name a folder with one.`,
    );
  }
  const extraFiles: Record<string, string> = {};
  for (const file of TOKENIZER_FILES) {
    if (await folder.exists(file)) extraFiles[file] = await folder.readText(file);
  }
  return { tokenizer, extraFiles };
}

function checkVocabulary(
  path: string,
  model: LoopLMConfig,
  tokenizer: Tokenizer | undefined,
): void {
  if (!tokenizer || tokenizer.vocabSize <= model.vocabSize) return;
  throw new ConfigError(
    'model.vocab_size',
    `${path}: the tokenizer has ${tokenizer.vocabSize} tokens and the model ${model.vocabSize}; the model needs at least as many. Raise vocab_size.`,
  );
}

/** A document cut where a row ends. */
function pieces({ ids, targets }: TrainingDocument, length: number): TrainingDocument[] {
  return Array.from({ length: Math.ceil(ids.length / length) }, (_, index) => ({
    ids: ids.slice(index * length, (index + 1) * length),
    targets: targets.slice(index * length, (index + 1) * length),
  }));
}

function sourceOf(
  documents: readonly TrainingDocument[],
  { data, seed }: TrainFile,
  { padTokenId }: LoopLMConfig,
): BatchSource {
  return generatedSource({
    documents: (rng) => documents[uniformInt(rng, 0, documents.length - 1)]!,
    rows: data.rows,
    length: data.length,
    seed,
    ...(padTokenId !== undefined && { padId: padTokenId }),
  });
}
