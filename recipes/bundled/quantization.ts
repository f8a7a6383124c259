/**
 * `npm run eval:quantization`: what the formats of converted weights and of cached keys and values cost
 * the bundled model at each depth. Prints the tables, and says where they differ from the committed
 * figures, quantization.json beside the model: exit code 1 if they do.
 *
 * `--write` writes the figures there instead; report.ts then brings texts and pictures up to date. With
 * `--quick` it measures a tenth of the questions and only prints. `--model FOLDER` names another model,
 * `--threads N` the threads to compute with.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generatorFor } from 'looplm/data';
import { Engine } from 'looplm/engine';
import type { Calibration } from 'looplm/eval';
import { calibrate, calibrationChunks, mean } from 'looplm/eval';
import type { LoadedCheckpoint } from 'looplm/model';
import { loadCheckpoint, loadWeights } from 'looplm/model';
import type { ConversionSettings } from 'looplm/node';
import { convertModel, nodeFolder, writeFileAtomic } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { LENGTH } from './configs.js';
import { drawDocument } from './course.js';
import { everything } from './curriculum.js';
import { Scribe } from './documents.js';
import { settleFigures } from './evaluation/committed.js';
import { figuresToJson } from './evaluation/figures.js';
import { EVALUATION_SEED, questionSets } from './evaluation/question-sets.js';
import type { QuantizationFigures, VariantFigures } from './evaluation/quantization-figures.js';
import { QUANTIZATION_FILE } from './evaluation/quantization-figures.js';
import { VariantTally } from './evaluation/quantization-measure.js';
import { quantizationTables } from './evaluation/quantization-report.js';
import { countFlag, readArguments, runScript } from '../run-script.js';
import { versionOf } from './script.js';
import { TASKS } from './tasks/index.js';

/** Of each difficulty. */
const QUESTIONS = 50;
const QUICK_QUESTIONS = 5;

const CALIBRATION_TOKENS = 16_384;
const CALIBRATION_SEED = 5;

interface Variant {
  readonly name: string;
  /** Without, the weights stay float32. */
  readonly settings?: ConversionSettings;
  readonly isCalibrated?: true;
  /** Of keys and values; default f32. */
  readonly kvDtype?: 'f16' | 'i8';
}

type ConvertedVariant = Variant & Required<Pick<Variant, 'settings'>>;

const q4 = (blockSize: 32 | 64 | 128, method: ConversionSettings['method'] & string) =>
  ({ dtype: 'q4', blockSize, method }) as const;

const VARIANTS: readonly Variant[] = [
  { name: 'f16', settings: { dtype: 'f16' } },
  { name: 'q8', settings: { dtype: 'q8' } },
  { name: 'q4 32', settings: q4(32, 'round-to-nearest') },
  { name: 'q4 64', settings: q4(64, 'round-to-nearest') },
  { name: 'q4 128', settings: q4(128, 'round-to-nearest') },
  { name: 'q4 64 search', settings: q4(64, 'scale-search') },
  { name: 'q4 64 calibrated', settings: q4(64, 'scale-search'), isCalibrated: true },
  { name: 'f16 cache', kvDtype: 'f16' },
  { name: 'i8 cache', kvDtype: 'i8' },
  { name: 'q8, i8 cache', settings: { dtype: 'q8' }, kvDtype: 'i8' },
];

/** A variant that is ready to be measured. */
interface Subject extends Pick<VariantFigures, 'name' | 'sizeBytes' | 'weightError'> {
  readonly engine: Engine;
  readonly tally: VariantTally;
}

async function main(): Promise<void> {
  const { values } = readArguments({
    options: {
      model: { type: 'string', default: 'models/bundled' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      threads: { type: 'string' },
    },
  });
  const scratch = await mkdtemp(join(tmpdir(), 'looplm-quantization-'));
  try {
    await using device = await createInlineDevice({
      numThreads: countFlag('threads', values.threads, 1),
    });
    const questions = values.quick ? QUICK_QUESTIONS : QUESTIONS;
    const figures = await measure(device, values.model, scratch, questions);
    console.log(quantizationTables(figures));
    if (values.quick) return;
    await settleFigures({
      path: join(values.model, QUANTIZATION_FILE),
      json: figuresToJson(figures, fiveDigits),
      write: values.write,
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function measure(
  device: Device,
  model: string,
  scratch: string,
  questions: number,
): Promise<QuantizationFigures> {
  const folder = nodeFolder(model);
  const checkpoint = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  const scribe = new Scribe((text) => tokenizer.encode(text));
  const calibration = await calibrateOnTraining(device, checkpoint, scribe);
  const calibrationFile = join(scratch, 'calibration.safetensors');
  await writeFileAtomic(calibrationFile, calibrationChunks(calibration));

  const subjects: Subject[] = [];
  try {
    subjects.push(await plainSubject(device, checkpoint, { name: 'f32' }));
    for (const variant of VARIANTS) {
      const { settings } = variant;
      const subject = settings
        ? convertedSubject(device, model, scratch, { ...variant, settings }, calibrationFile)
        : plainSubject(device, checkpoint, variant);
      subjects.push(await subject);
    }
    const numQuestions = await measureAll(subjects, scribe, questions);
    return {
      provenance: {
        looplm: versionOf('looplm'),
        onnxruntime: versionOf('onnxruntime-node'),
        seed: EVALUATION_SEED,
        questions: numQuestions,
        calibrationTokens: calibration.numTokens,
        calibrationSeed: CALIBRATION_SEED,
      },
      exitThreshold: checkpoint.config.exitThreshold,
      variants: subjects.map(({ name, sizeBytes, weightError, tally }) => ({
        name,
        sizeBytes,
        weightError,
        ...tally.figures(),
      })),
    };
  } finally {
    for (const { engine } of subjects) await engine.dispose();
  }
}

/** What the matrices of the model read in problems such as it was trained on. */
function calibrateOnTraining(
  device: Device,
  { config, weights }: LoadedCheckpoint,
  scribe: Scribe,
): Promise<Calibration> {
  const options = { tasks: TASKS, scribe, maxLength: LENGTH };
  const rng = generatorFor(CALIBRATION_SEED);
  const documents: number[][] = [];
  for (let tokens = 0; tokens < CALIBRATION_TOKENS; tokens += documents.at(-1)!.length) {
    documents.push([...drawDocument(rng, options, everything(TASKS)).ids]);
  }
  return calibrate({ device, config, weights, maxTokens: CALIBRATION_TOKENS }, documents);
}

async function plainSubject(
  device: Device,
  { config, weights }: LoadedCheckpoint,
  { name, kvDtype }: Variant,
): Promise<Subject> {
  const sizeBytes = [...weights.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const engine = await Engine.create({ device, config, weights, kvDtype });
  const tally = new VariantTally(config.exitThreshold);
  return { name, sizeBytes, weightError: 0, engine, tally };
}

async function convertedSubject(
  device: Device,
  model: string,
  scratch: string,
  { name, settings, isCalibrated, kvDtype }: ConvertedVariant,
  calibration: string,
): Promise<Subject> {
  const path = join(scratch, name.replaceAll(/\W+/g, '-'));
  const report = await convertModel(model, path, {
    ...settings,
    ...(isCalibrated && { calibration }),
  });
  const { config, weights } = await loadWeights(nodeFolder(path));
  const engine = await Engine.create({ device, config, weights, kvDtype });
  const tally = new VariantTally(config.exitThreshold);
  const matrices = report.tensors.filter(({ kind }) => kind === 'matrix');
  const weightError = mean(matrices.map(({ relativeError }) => relativeError));
  return { name, sizeBytes: report.sizeBytes, weightError, engine, tally };
}

/** Traces every question with every subject, float32 first; returns the number of questions. */
async function measureAll(
  subjects: readonly Subject[],
  scribe: Scribe,
  count: number,
): Promise<number> {
  const sets = questionSets(scribe, count, ['uniform']);
  let numQuestions = 0;
  for (const { task, difficulty, questions } of sets) {
    for (const { ids, targets } of questions) {
      const plain = await subjects[0]!.engine.trace(ids);
      for (const { engine, tally } of subjects) {
        const trace = engine === subjects[0]!.engine ? plain : await engine.trace(ids);
        tally.add({ task, targets }, plain, trace);
      }
      numQuestions++;
    }
    console.log(`${task} ${difficulty}: ${questions.length} questions`);
  }
  return numQuestions;
}

/** Errors range over powers of ten; counts stay as they are. */
function fiveDigits(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(5));
}

await runScript(main);
