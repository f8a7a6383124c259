/**
 * How a training run shows how far it is: a bar at a terminal, a line for each record elsewhere; both
 * on stderr.
 */
import { SingleBar } from 'cli-progress';
import type { MetricRecord, PassedSpike, Rollback } from '../../train/index.js';
import type { CliIo } from '../io.js';
import { isRich } from '../style.js';

export interface TrainingProgress {
  show(record: MetricRecord, totalTrainSteps: number): void;
  /** Prints a line that stays. */
  note(line: string): void;
  stop(): void;
}

export function openTrainingProgress(io: CliIo): TrainingProgress {
  const { stderr, env } = io;
  const write = (line: string) => void stderr.write(`${line}\n`);
  if (!isRich(stderr, env)) {
    return {
      show: (record, total) =>
        write(`train step ${record.trainStep} of ${total}: ${describe(record)}`),
      note: write,
      stop: () => {},
    };
  }
  const bar = new SingleBar({
    stream: stderr,
    format:
      '{bar} {percentage} % | train step {value} of {total} | {metrics} | {eta_formatted} left',
    barsize: 20,
    barCompleteChar: '█',
    barIncompleteChar: '·',
    hideCursor: true,
    clearOnComplete: true,
  });
  return {
    show(record, total) {
      const payload = { metrics: describe(record) };
      if (bar.isActive) bar.update(record.trainStep, payload);
      else bar.start(total, record.trainStep, payload);
    },
    note(line) {
      bar.stop(); // the next record opens it again, below the line
      write(line);
    },
    stop: () => bar.stop(),
  };
}

export function describeRollback({ trainStep, loss, threshold, backTo }: Rollback): string {
  const what =
    loss === null
      ? 'loss, gradient or weights are not finite'
      : `a loss of ${loss.toFixed(3)} is a spike, above ${threshold!.toFixed(3)}`;
  return `train step ${trainStep}: ${what}; going back to train step ${backTo}, past these data`;
}

export function describePassedSpike({ trainStep, loss, threshold }: PassedSpike): string {
  return `train step ${trainStep}: a loss of ${loss.toFixed(3)} is a spike, above ${threshold.toFixed(3)}; the run has gone back as often as it may, and goes on`;
}

function describe(record: MetricRecord): string {
  if (record.source) return describePolicy(record.source);
  const { stage, loss, lossPerLoop, accuracyPerLoop, tokensPerSecond } = record;
  const accuracy = 100 * accuracyPerLoop.at(-1)!;
  return [
    ...(stage === undefined ? [] : [stage]),
    `loss ${loss.toFixed(3)}`,
    `by loop ${lossPerLoop.map((value) => value.toFixed(2)).join(' ')}`,
    `accuracy ${accuracy.toFixed(1)} %`,
    `${tokensPerSecond.toFixed(0)} tokens/s`,
  ].join(', ');
}

/** What an update of a policy told. */
function describePolicy(source: NonNullable<MetricRecord['source']>): string {
  const of = (name: string) => Number(source[name]);
  const difference = Math.max(of('maxTokenDifference'), of('maxExitDifference'));
  return [
    `reward ${of('reward').toFixed(3)}`,
    `depth ${of('meanDepth').toFixed(2)}`,
    `difficulty ${of('difficulty').toFixed(1)}`,
    ...(of('droppedGroups') > 0 ? [`${of('droppedGroups')} groups all alike`] : []),
    ...('staleness' in source ? [`${of('staleness').toFixed(1)} updates stale`] : []),
    `replay within ${difference.toExponential(0)}`,
  ].join(', ');
}
