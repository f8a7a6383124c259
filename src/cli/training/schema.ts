/**
 * The file that describes a training run: its keys, what they may be, and what they are by default.
 *
 * Everything but the data has a default, so the shortest file names a text. Everything that decides
 * the result is in the file; unknown keys are errors. Documented in docs/training.md.
 */
import { basename, extname, resolve } from 'node:path';
import { z } from 'zod';
import { withoutGzip } from '../../platform/node/index.js';
import { defaultSchedule, trainingFields } from '../../train/index.js';
import {
  numberBetween,
  positiveNumber,
  rule,
  section,
  text,
  wholeNumber,
  word,
} from '../../util/setting-fields.js';

/** Formats of the data, and the ends of file names that mean them. Rows of parquet are read as lines of JSON. */
export const DATA_FORMATS = {
  jsonl: ['.jsonl', '.ndjson', '.parquet'],
  text: ['.txt', '.text', '.md'],
} as const;
type DataFormat = keyof typeof DATA_FORMATS;
const FORMAT_NAMES = Object.keys(DATA_FORMATS) as [DataFormat, ...DataFormat[]];

const weight = numberBetween(0, 1e9);
/** A folder of shards, and its share of the rows: changed in a straight line up to the end of a stage. */
const shardSet = section({
  path: text(),
  /** For `mixture`. Default: the name of the folder. */
  name: text().optional(),
  weight: weight.default(1),
  finalWeight: weight.optional(),
});

/** Of `path`, `chat` and `shards` one is given. */
const data = section({
  path: text().optional(),
  chat: text().optional(),
  shards: z
    .union(
      [text(), z.array(shardSet).min(1)],
      rule('the folder that looplm tokenize has made, or a list of {"path", "weight"}'),
    )
    .optional(),
  format: word(FORMAT_NAMES).optional(),
  /** Of rows of `chat` and `shards`. */
  order: word(['epochs', 'replacement']).default('epochs'),
  /** In place of `trainSteps`: as many as read `chat` or one folder of shards so often. */
  epochs: positiveNumber(1e6).optional(),
  rows: wholeNumber(1, 2 ** 16).default(8),
  length: wholeNumber(1, 2 ** 20).default(256),
});

const validation = section({
  fraction: numberBetween(0, 0.5).default(0.05),
  evaluateEvery: wholeNumber(1, 1e9).default(100),
  maxTokens: wholeNumber(1, 1e9).default(16_384),
});

export const runFileSchema = section({
  /** A fresh model: keys of its config.json; those left out have defaults. */
  model: z.record(z.string(), z.unknown(), rule('an object with keys of config.json')).optional(),
  /** Instead of `model`: a model folder to start from. */
  from: text().optional(),
  /** Folder with tokenizer.json. Default: that of `from`, else one whose tokens are bytes. */
  tokenizer: text().optional(),
  data,
  validation: validation.prefault({}),
  ...trainingFields,
  dtype: word(['f32', 'bf16', 'f16']).default('f32'),
  /** Whether what each stage comes to is kept as a model of its own. */
  keepStages: z.boolean(rule('true or false')).default(false),
});

/** A run's file with its defaults. */
export type RunFile = z.output<typeof runFileSchema>;
/** A run's file as it is written. */
export type RunFileInput = z.input<typeof runFileSchema>;

export type ShardSetting = z.output<typeof shardSet> & { readonly name: string };

/** The folders of shards of a run, in the longer form. */
export function shardSettings({
  shards,
}: Pick<RunFile['data'], 'shards'>): readonly ShardSetting[] {
  const sets: readonly z.output<typeof shardSet>[] =
    typeof shards === 'string' ? [{ path: shards, weight: 1 }] : (shards ?? []);
  return sets.map((set) => ({ ...set, name: set.name ?? basename(resolve(set.path)) }));
}

/** The defaults of all keys that have one, a line each, for the help. */
export function describeDefaults(): string {
  const file = runFileSchema.parse({ data: { path: 'notes.txt' } });
  const lines = Object.entries({ ...file, schedule: defaultSchedule(file.trainSteps) }).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `{\n${lines.join(',\n')}\n}`;
}

/** The format of the data, by default the one that its name ends in; undefined if that tells none. */
export function formatOf({
  path,
  format,
}: {
  readonly path?: string | undefined;
  readonly format?: DataFormat | undefined;
}): DataFormat | undefined {
  const end = extname(withoutGzip(path ?? '')).toLowerCase();
  return format ?? FORMAT_NAMES.find((name) => DATA_FORMATS[name].some((known) => known === end));
}
