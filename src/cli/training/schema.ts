/**
 * The file that describes a training run: its keys, what they may be, and what they are by default.
 *
 * Everything but the data has a default, so the shortest file names a text. Everything that decides
 * the result is in the file; unknown keys are errors. Documented in docs/training.md.
 */
import { extname } from 'node:path';
import { z } from 'zod';
import type { Schedule } from '../../train/index.js';
import { numberWhere, wordOf } from '../../util/parse-fields.js';

const FIX = 'Correct it.';

// Bounds are far beyond any use: they keep a typing mistake from taking all memory or all time.
const whole = (min: number, max: number) =>
  numberWhere(
    `it must be a whole number from ${min} to ${max}. ${FIX}`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  );
const between = (min: number, max: number) =>
  numberWhere(`it must be a number from ${min} to ${max}. ${FIX}`, (v) => v >= min && v <= max);
const positive = (max: number) =>
  numberWhere(`it must be a number above 0, at most ${max}. ${FIX}`, (v) => v > 0 && v <= max);
const text = z.string(`it must be a text. ${FIX}`);
const section = <S extends z.ZodRawShape>(shape: S) =>
  z.strictObject(shape, {
    error: ({ code }) => (code === 'invalid_type' ? 'it must be an object. ' + FIX : undefined),
  });

const MAX_STEPS = 1e9;
const steps = whole(1, MAX_STEPS);
const warmup = whole(0, MAX_STEPS).default(0);
const final = between(0, 1).default(0.1);

/** Formats of the data, and the ends of file names that mean them. */
export const DATA_FORMATS = {
  jsonl: ['.jsonl', '.ndjson'],
  text: ['.txt', '.text', '.md'],
} as const;
type DataFormat = keyof typeof DATA_FORMATS;
const FORMAT_NAMES = Object.keys(DATA_FORMATS) as [DataFormat, ...DataFormat[]];

const data = section({
  path: text,
  format: wordOf(FORMAT_NAMES, FIX).optional(),
  rows: whole(1, 2 ** 16).default(8),
  length: whole(1, 2 ** 20).default(256),
});

const validation = section({
  fraction: between(0, 0.5).default(0.05),
  evaluateEvery: steps.default(100),
  maxTokens: whole(1, 1e9).default(16_384),
});

const objective = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('stage-1'), beta: between(0, 1000).default(0.1) }),
    section({
      kind: z.literal('stage-2'),
      target: wordOf(['published', 'forward'], FIX),
      k: positive(1e6).default(50),
      gamma: between(-1e6, 1e6).default(0.005),
    }),
    section({ kind: z.literal('last-loop') }),
  ],
  `it must be an object whose kind is "stage-1", "stage-2" or "last-loop". ${FIX}`,
);

const schedule = z.discriminatedUnion(
  'kind',
  [
    section({ kind: z.literal('constant'), warmupTrainSteps: warmup }),
    section({ kind: z.literal('cosine'), warmupTrainSteps: warmup, finalFraction: final }),
    section({
      kind: z.literal('wsd'),
      warmupTrainSteps: warmup,
      decayTrainSteps: steps,
      finalFraction: final,
    }),
  ],
  `it must be an object whose kind is "constant", "cosine" or "wsd". ${FIX}`,
);

const optimizer = section({
  beta1: numberWhere(
    `it must be a number from 0 to below 1. ${FIX}`,
    (v) => v >= 0 && v < 1,
  ).default(0.9),
  beta2: numberWhere(
    `it must be a number from 0 to below 1. ${FIX}`,
    (v) => v >= 0 && v < 1,
  ).default(0.95),
  epsilon: positive(1).default(1e-8),
  weightDecay: between(0, 1000).default(0.1),
  clipNorm: z
    .union([positive(1e30), z.literal('off')], `it must be a number above 0, or "off". ${FIX}`)
    .default(1),
});

export const runFileSchema = section({
  /** A fresh model: keys of its config.json; those left out have defaults. */
  model: z
    .record(z.string(), z.unknown(), `it must be an object with keys of config.json. ${FIX}`)
    .optional(),
  /** Instead of `model`: a model folder to start from. */
  from: text.optional(),
  /** Folder with tokenizer.json. Default: that of `from`, else one whose tokens are bytes. */
  tokenizer: text.optional(),
  data,
  validation: validation.prefault({}),
  /** Of fresh weights and of the order of the data. */
  seed: whole(0, 2 ** 32 - 1).default(0),
  objective: objective.prefault({ kind: 'stage-1' }),
  optimizer: optimizer.prefault({}),
  learningRate: positive(100).default(0.001),
  schedule: schedule.optional(),
  trainSteps: steps.default(1000),
  accumulate: whole(1, 1e6).default(1),
  recompute: wordOf(['none', 'readout', 'loop'], FIX).default('none'),
  logEvery: steps.default(10),
  snapshotEvery: steps.default(100),
  dtype: wordOf(['f32', 'bf16', 'f16'], FIX).default('f32'),
});

/** A run's file with its defaults. */
export type RunFile = z.output<typeof runFileSchema>;
/** A run's file as it is written. */
export type RunFileInput = z.input<typeof runFileSchema>;

/** The defaults of all keys that have one, a line each, for the help. */
export function describeDefaults(): string {
  const file = runFileSchema.parse({ data: { path: 'notes.txt' } });
  const lines = Object.entries({ ...file, schedule: scheduleOf(file) }).map(
    ([key, value]) => `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`,
  );
  return `{\n${lines.join(',\n')}\n}`;
}

const LONGEST_WARMUP = 100;

/** The schedule, by default a cosine after a warm-up of a tenth, 100 train steps at most. */
export function scheduleOf({ schedule: given, trainSteps }: RunFile): Schedule {
  if (given) return given;
  const warmupTrainSteps = Math.min(LONGEST_WARMUP, Math.floor(trainSteps / 10));
  return { kind: 'cosine', warmupTrainSteps, finalFraction: 0.1 };
}

/** The format of the data, by default the one that its name ends in; undefined if that tells none. */
export function formatOf({
  path,
  format,
}: {
  readonly path: string | undefined;
  readonly format?: DataFormat | undefined;
}): DataFormat | undefined {
  const end = extname(path ?? '').toLowerCase();
  return format ?? FORMAT_NAMES.find((name) => DATA_FORMATS[name].some((known) => known === end));
}
