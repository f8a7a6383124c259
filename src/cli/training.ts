/**
 * Trains a run at the command line: progress, Ctrl-C, and the files that a run leaves behind.
 *
 * In the run's folder: train-config.json, metrics.jsonl, loss.svg, snapshot.safetensors, and at the
 * end a model in the layout that every command loads.
 */
import { SingleBar } from 'cli-progress';
import type { BatchSource } from '../data/index.js';
import type { Folder, ModelWeights, WeightDtype } from '../model/index.js';
import { saveCheckpoint } from '../model/index.js';
import { createNodeDevice, nodeFolder } from '../platform/node/index.js';
import type { DeviceOptions } from '../runtime/index.js';
import type { MetricRecord, TrainConfig, TrainResult } from '../train/index.js';
import { METRICS_FILE, parseMetrics, readSnapshot, train } from '../train/index.js';
import type { CliIo } from './io.js';
import { interruptible } from './io.js';
import { isRich } from './style.js';

/** All that decides a run, and the files that go beside the trained weights. */
export interface TrainingRun {
  readonly config: TrainConfig;
  readonly source: BatchSource;
  /** Where a run starts that has no snapshot. */
  readonly weights: ModelWeights;
  /** Text by file name. */
  readonly extraFiles: Readonly<Record<string, string>>;
  /** Storage type of the trained model. Default f32. */
  readonly dtype?: WeightDtype;
}

/** What a run came to. */
export interface TrainingOutcome extends TrainResult {
  /** The last metrics of this sitting, if it trained at all. */
  readonly lastRecord: MetricRecord | undefined;
}

/** Trains until the end or Ctrl-C; resumes from the snapshot of `out` if it has one. */
export async function runTraining(
  run: TrainingRun,
  out: string,
  deviceOptions: DeviceOptions,
  io: CliIo,
): Promise<TrainingOutcome> {
  const folder = nodeFolder(out);
  await readSnapshot(folder, run.config); // a run with other settings must not lose its config
  await folder.write('train-config.json', `${JSON.stringify(run.config, null, 2)}\n`);
  const device = await createNodeDevice(deviceOptions);
  const progress = openProgress(io);
  let lastRecord: MetricRecord | undefined;
  try {
    const { config, source, weights } = run;
    const result = await interruptible(io, (signal) =>
      train({
        config,
        device,
        source,
        weights,
        folder,
        now: io.now,
        memoryBytes: io.memoryBytes,
        signal,
        onProgress(record, totalTrainSteps) {
          lastRecord = record;
          progress.show(record, totalTrainSteps);
        },
      }),
    );
    if (result.finished) {
      const { dtype = 'f32', extraFiles } = run;
      await saveCheckpoint(folder, config.model, result.weights, { dtype, extraFiles });
    }
    await drawLosses(folder);
    return { ...result, lastRecord };
  } finally {
    progress.stop();
    await device.dispose();
  }
}

/** Draws loss.svg from the metrics of the whole run, if there are any yet. */
async function drawLosses(folder: Folder): Promise<void> {
  if (!(await folder.exists(METRICS_FILE))) return;
  const records = parseMetrics(await folder.readText(METRICS_FILE)).filter(
    (record) => 'lossPerLoop' in record,
  );
  if (records.length === 0) return;
  const { lossCurves } = await import('../charts/index.js');
  await folder.write('loss.svg', lossCurves(records));
}

interface Progress {
  show(record: MetricRecord, totalTrainSteps: number): void;
  stop(): void;
}

/** A bar at a terminal, one line for each record elsewhere; both on stderr. */
function openProgress({ stderr, env }: CliIo): Progress {
  if (!isRich(stderr, env)) {
    const show = (record: MetricRecord, total: number) =>
      void stderr.write(`train step ${record.trainStep} of ${total}: ${describe(record)}\n`);
    return { show, stop: () => {} };
  }
  const bar = new SingleBar({
    stream: stderr,
    format:
      '{bar} {percentage} % | train step {value} of {total} | {metrics} | {eta_formatted} left',
    barsize: 20,
    barCompleteChar: '█',
    barIncompleteChar: '·',
    hideCursor: true,
  });
  return {
    show(record, total) {
      const payload = { metrics: describe(record) };
      if (bar.isActive) bar.update(record.trainStep, payload);
      else bar.start(total, record.trainStep, payload);
    },
    stop: () => bar.stop(),
  };
}

function describe({ loss, lossPerLoop, accuracyPerLoop, tokensPerSecond }: MetricRecord): string {
  const accuracy = 100 * accuracyPerLoop.at(-1)!;
  return [
    `loss ${loss.toFixed(3)}`,
    `by loop ${lossPerLoop.map((value) => value.toFixed(2)).join(' ')}`,
    `accuracy ${accuracy.toFixed(1)} %`,
    `${tokensPerSecond.toFixed(0)} tokens/s`,
  ].join(', ');
}
