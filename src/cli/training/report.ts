/**
 * What the commands that train print: how far reading is, and what a run came to.
 */
import { stagesOf } from '../../train/index.js';
import { printable } from '../../util/quote.js';
import { openProgress } from '../byte-progress.js';
import type { CliIo } from '../io.js';
import { InterruptedError } from '../io.js';
import { localPaths } from '../corpus-flags.js';
import type { ReadRunOptions } from './run-file.js';
import type { TrainingOutcome, TrainingRun } from './run.js';

/** Characters that become tokens within a second or so. */
const QUICKLY_READ = 250_000;

/** Runs a task that reads data, with a bar if that takes long. */
export async function whileReading<T>(
  io: CliIo,
  signal: AbortSignal,
  task: (options: ReadRunOptions) => Promise<T>,
): Promise<T> {
  const progress = openProgress(io, 'reading', ' characters');
  try {
    return await task({
      signal,
      pull: (address) => localPaths([address], undefined, io, signal),
      onProgress(done, total) {
        if (total > QUICKLY_READ) progress.show(done, total);
      },
    });
  } finally {
    progress.stop();
  }
}

/**
 * Prints what a run came to.
 *
 * @param todo - how to try the model, for a person.
 * @throws InterruptedError if it was stopped.
 */
export function reportOutcome(
  run: TrainingRun,
  outcome: TrainingOutcome,
  { out, json, todo }: { readonly out: string; readonly json: boolean; readonly todo: string },
  io: CliIo,
): void {
  const trainSteps = stagesOf(run.config).reduce((sum, stage) => sum + stage.trainSteps, 0);
  const text = json
    ? JSON.stringify(summaryOf(outcome, trainSteps, out))
    : sentencesOf(
        outcome,
        trainSteps,
        `The ${run.config.lora ? 'adapter' : 'model'} is in ${printable(out)}: try ${todo}`,
      );
  io.stdout.write(`${text}\n`);
  if (!outcome.finished) throw new InterruptedError();
}

function summaryOf(outcome: TrainingOutcome, trainSteps: number, out: string): object {
  const { finished, trainStepsDone, lastRecord, validation } = outcome;
  return {
    out,
    finished,
    trainStepsDone,
    trainSteps,
    lastRecord: lastRecord ?? null,
    validation: validation ?? null,
  };
}

function sentencesOf(outcome: TrainingOutcome, trainSteps: number, end: string): string {
  const { finished, trainStepsDone, validation } = outcome;
  if (!finished) {
    return `Stopped after ${trainStepsDone} of ${trainSteps} train steps. The same command goes on from there.`;
  }
  const losses = validation?.lossByDepth.map((loss) => loss.toFixed(3)).join(' ');
  return [
    `Trained ${trainSteps} train steps.`,
    ...(losses === undefined ? [] : [`Loss on held-out data by depth: ${losses}.`]),
    end,
  ].join(' ');
}
