/**
 * Converts a checkpoint: threads take pieces of its tensors to their places in a new weight file,
 * and the folder gets its name when all is there.
 *
 * The layout is known before the values are, so memory does not grow with the model, and a run that
 * ended at any moment is continued by the next. It knows formats through the plan only.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { ModelFormat, OpenCheckpoint, OpenOptions } from '../../../model/index.js';
import {
  GATES_FILE,
  elementCount,
  modelFormatToJson,
  openCheckpoint,
  parameterSpecs,
  relativeError,
} from '../../../model/index.js';
import type { NewFolder, NewFolderOptions } from '../files/index.js';
import {
  beginFolder,
  fileExists,
  followLinks,
  makeWay,
  nodeFolder,
  readTextFile,
  writeFileAtomic,
} from '../files/index.js';
import type { TaskPoolOptions } from '../task-pool.js';
import { checkNumWorkers } from '../task-pool.js';
import { packageVersion } from '../version.js';
import type { Calibration } from './calibration.js';
import { readCalibration } from './calibration.js';
import { TEXT_FILES, fingerprintOf } from './fingerprint.js';
import type { PieceResult } from './piece.js';
import type { ConversionPlan } from './plan.js';
import { planConversion } from './plan.js';
import type { ConversionReport } from './report.js';
import { REPORT_FILE, readConversionReport, tensorReports } from './report.js';
import type { ConversionSettings } from './settings.js';
import { formatOfSettings } from './settings.js';
import type { ConversionProgress } from './write-weights.js';
import { writeWeights } from './write-weights.js';

export interface ConvertOptions
  extends
    ConversionSettings,
    TaskPoolOptions,
    /** For where another process converts to the same target. */
    Pick<NewFolderOptions, 'shouldWait' | 'onWait'> {
  /** Commit of the source on the hub, where it comes from there. */
  readonly revision?: string;
  readonly progress?: (progress: ConversionProgress) => void;
}

/**
 * Converts the checkpoint of one folder into another folder, which appears whole or not at all. A run
 * that was interrupted, by `signal` or by the end of its process, is continued by the next one with
 * the same source and settings; a conversion that is finished already is left as it is.
 *
 * @throws ConfigError if settings are wrong or do not go together; CheckpointError or UnsupportedError
 *   if the source is no sound unconverted checkpoint or a weight does not fit its format; FileError if
 *   the source cannot be read, the target holds something else or is being written, or the disk is
 *   full; the signal's reason when it aborts.
 */
export async function convertModel(
  source: string,
  target: string,
  options: ConvertOptions,
): Promise<ConversionReport> {
  if (options.numWorkers !== undefined) checkNumWorkers(options.numWorkers);
  return runConversion(await prepareConversion(source, options), target, options);
}

/** A conversion that is decided on and not begun. */
export interface PreparedConversion {
  readonly source: string;
  readonly checkpoint: Pick<OpenCheckpoint, 'config' | 'locations' | 'notes'>;
  readonly format: ModelFormat;
  readonly calibration: Calibration | undefined;
  readonly fingerprint: string;
  /** See `ConversionReport`. */
  readonly key: string;
}

/** Version of the files that a conversion writes; another version is another conversion. */
const FORMAT_VERSION = 1;

/** Checks source and settings without reading weights. Throws as `convertModel` does. */
export async function prepareConversion(
  source: string,
  settings: ConversionSettings & Pick<ConvertOptions, 'revision'>,
  open: OpenOptions = {},
): Promise<PreparedConversion> {
  const format = formatOfSettings(settings);
  const { config, locations, notes, close } = await openCheckpoint(nodeFolder(source), open);
  await close();
  const calibration =
    settings.calibration === undefined
      ? undefined
      : await readCalibration(settings.calibration, config);
  const weightFiles = new Set([...locations.values()].map(({ file }) => file));
  const hasGates = await fileExists(join(source, GATES_FILE));
  const fingerprint = await fingerprintOf(source, [
    ...weightFiles,
    ...(hasGates ? [GATES_FILE] : []),
  ]);
  const identity = [
    FORMAT_VERSION,
    fingerprint,
    settings.revision ?? null,
    modelFormatToJson(format),
    calibration?.sha256 ?? null,
  ];
  const key = createHash('sha256').update(JSON.stringify(identity)).digest('hex');
  const checkpoint = { config, locations, notes };
  return { source, checkpoint, format, calibration, fingerprint, key };
}

/** Does what was prepared. Throws as `convertModel` does. */
export async function runConversion(
  prepared: PreparedConversion,
  target: string,
  options: Omit<ConvertOptions, keyof ConversionSettings>,
): Promise<ConversionReport> {
  const path = await followLinks(resolve(target));
  const start = performance.now();
  const finished = await findFinished(path, prepared.key);
  if (finished) return finished;
  const { shouldWait, onWait, signal } = options;
  const folder = await beginFolder(path, {
    doing: 'converting',
    key: prepared.key,
    shouldWait,
    onWait,
    signal,
  });
  try {
    const others = await findFinished(path, prepared.key); // of the process that we waited for
    const report = others ?? (await fill(prepared, folder, options, start));
    if (report !== others) await folder.finish();
    await folder.remove();
    return report;
  } catch (error) {
    await folder.release();
    throw error;
  }
}

/** Writes the whole model into the unfinished folder. */
async function fill(
  prepared: PreparedConversion,
  folder: NewFolder,
  options: Parameters<typeof runConversion>[2],
  start: number,
): Promise<ConversionReport> {
  const { source, checkpoint, format, key } = prepared;
  const plan = planConversion(source, checkpoint, format);
  const { importance = new Map<string, Float32Array>() } = prepared.calibration ?? {};
  const work = { plan, key, method: format.method, importance };
  const results = await writeWeights(work, folder, options);
  const report = makeReport(prepared, plan, results, options.revision, start);
  await writeOtherFiles(prepared, folder.model, report);
  return report;
}

/** The report of the target if it is this conversion; an empty folder is removed. */
async function findFinished(path: string, key: string): Promise<ConversionReport | undefined> {
  if (!(await fileExists(path))) return undefined;
  const report = await readConversionReport(path);
  if (report?.key === key) return report;
  await makeWay(path, report && 'a conversion of another source or with other settings');
  return undefined;
}

/** Text and other gates first, config.json last. */
async function writeOtherFiles(
  { source, format, checkpoint: { notes } }: PreparedConversion,
  folder: string,
  report: ConversionReport,
): Promise<void> {
  for (const name of TEXT_FILES) {
    const from = join(source, name);
    if (!(await fileExists(from))) continue;
    await writeFileAtomic(join(folder, name), await readTextFile(from));
  }
  const gates = join(source, GATES_FILE);
  if (await fileExists(gates)) {
    await writeFileAtomic(join(folder, GATES_FILE), [await readFile(gates)]);
  }
  await writeFileAtomic(join(folder, REPORT_FILE), `${JSON.stringify(report, null, 2)}\n`);
  const original = JSON.parse(await readTextFile(join(source, 'config.json'))) as object;
  const config = { ...original, quantization_config: modelFormatToJson(format, notes) };
  await writeFileAtomic(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}

function makeReport(
  { source, checkpoint, format, calibration, fingerprint, key }: PreparedConversion,
  plan: ConversionPlan,
  results: readonly PieceResult[],
  revision: string | undefined,
  start: number,
): ConversionReport {
  return {
    key,
    source: {
      path: resolve(source),
      fingerprint,
      revision: revision ?? null,
      sizeBytes: sourceSize(checkpoint),
    },
    settings: { ...format, calibration: calibration?.sha256 ?? null },
    tensors: tensorReports(plan, results, format),
    sizeBytes: plan.layout.size,
    relativeError: relativeError(results),
    version: packageVersion(),
    seconds: (performance.now() - start) / 1000,
  };
}

function sourceSize({ config, locations }: PreparedConversion['checkpoint']): number {
  return parameterSpecs(config).reduce((sum, { hfName, shape }) => {
    const valueBytes = locations.get(hfName)!.dtype === 'f32' ? 4 : 2;
    return sum + elementCount(shape) * valueBytes;
  }, 0);
}
