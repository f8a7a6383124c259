/**
 * Metrics of a run: one JSON record a line in `metrics.jsonl`.
 *
 * The file is rewritten whole under a temporary name, so it is never cut in the middle of a line;
 * records later than the snapshot that a run resumes from are dropped, since they will come again.
 */
import { z } from 'zod';
import { FileError } from '../errors.js';
import type { Folder } from '../util/folder.js';
import type { Snapshot } from './snapshot.js';
import type { Rollback } from './spikes.js';
import { rollbackSchema } from './spikes.js';
import type { UpdateMetrics } from './state.js';

export interface MetricRecord extends UpdateMetrics {
  /** Updates done when the record was made. */
  readonly trainStep: number;
  /** Name of the stage, where a run has stages. */
  readonly stage?: string | undefined;
  readonly learningRate: number;
  readonly tokensPerSecond: number;
  /** Resident memory of the process. */
  readonly memoryBytes: number;
  /** What a source that depends on the model tells of the update. */
  readonly source?: Evaluation | undefined;
}

/** Numbers by name; a list has an entry for each depth, from 1. */
export type Evaluation = Readonly<Record<string, number | readonly number[]>>;

/** What `evaluate` returned after an update. */
export interface EvaluationRecord {
  readonly trainStep: number;
  readonly evaluation: Evaluation;
}

/** That a run went back for a spike; stands behind the records of what it went back to. */
export interface RollbackRecord {
  readonly trainStep: number;
  readonly rollback: Rollback;
}

export type RunRecord = MetricRecord | EvaluationRecord | RollbackRecord;

export const METRICS_FILE = 'metrics.jsonl';

const number = z.number();
const perLoop = z.array(number);
// JSON has no NaN: an evaluation that is not a number is written as null.
const evaluated = number.or(z.null().transform(() => NaN));
const numbersByName = z.record(z.string(), evaluated.or(z.array(evaluated)));
const recordSchema = z.union([
  z.strictObject({
    trainStep: z.int(),
    evaluation: numbersByName,
  }),
  z.strictObject({ trainStep: z.int(), rollback: rollbackSchema }),
  z.strictObject({
    trainStep: z.int(),
    stage: z.string().optional(),
    loss: number,
    lossPerLoop: perLoop,
    accuracyPerLoop: perLoop,
    meanExitPdf: perLoop,
    entropy: number,
    gradNorm: number,
    countedTargets: number,
    loops: z
      .strictObject({
        stateNorm: perLoop,
        stateChange: perLoop,
        stateGradNorm: perLoop.optional(),
      })
      .optional(),
    learningRate: number,
    tokensPerSecond: number,
    memoryBytes: number,
    source: numbersByName.optional(),
  }),
]);

/** Parses a metrics file. @throws FileError naming the line that is not a record */
export function parseMetrics(text: string): readonly RunRecord[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, index) => {
      try {
        return recordSchema.parse(JSON.parse(line));
      } catch (cause) {
        throw new FileError(
          METRICS_FILE,
          `${METRICS_FILE} line ${index + 1} is not a metrics record; remove the line or the file.`,
          { cause },
        );
      }
    });
}

/** The metrics of a run under way. */
export class MetricLog {
  readonly #folder: Folder;
  #records: RunRecord[];

  private constructor(folder: Folder, records: RunRecord[]) {
    this.#folder = folder;
    this.#records = records;
  }

  /** Opens the log of a run that goes on from a snapshot, or of a new one. */
  static async open(
    folder: Folder,
    snapshot: Pick<Snapshot, 'trainSteps' | 'rollbacks'> | undefined,
  ): Promise<MetricLog> {
    if (!snapshot || !(await folder.exists(METRICS_FILE))) return new MetricLog(folder, []);
    let rollbacks = 0;
    const isKept = (record: RunRecord) =>
      'rollback' in record
        ? ++rollbacks <= snapshot.rollbacks.length
        : record.trainStep <= snapshot.trainSteps;
    const records = parseMetrics(await folder.readText(METRICS_FILE));
    return new MetricLog(folder, records.filter(isKept));
  }

  add(record: MetricRecord): MetricRecord {
    this.#records.push(record);
    return record;
  }

  addEvaluation(trainStep: number, evaluation: Evaluation): void {
    this.#records.push({ trainStep, evaluation });
  }

  /** Drops what came after the train step that the run goes back to. */
  goBack(rollback: Rollback): void {
    const { backTo } = rollback;
    this.#records = this.#records.filter(({ trainStep }) => trainStep <= backTo);
    this.#records.push({ trainStep: backTo, rollback });
  }

  async flush(): Promise<void> {
    const lines = this.#records.map((record) => `${JSON.stringify(record)}\n`);
    await this.#folder.write(METRICS_FILE, lines.join(''));
  }
}
