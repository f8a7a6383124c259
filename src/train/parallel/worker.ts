/**
 * Training on several machines: each does a number of train steps by itself, then all take one step of an
 * outer optimizer along the mean of what they have learnt, and go on from there (DiLoCo).
 *
 * Machines meet in a store alone (cluster/). What the inner optimizer keeps stays on its machine; a machine
 * that joins late begins with it fresh. One that was stopped goes on from the snapshot of its folder, and
 * with what the others have done meanwhile.
 * Source: DiLoCo (arXiv 2311.08105); docs/many-machines.md.
 */
import { ConfigError } from '../../errors.js';
import type { ModelWeights } from '../../model/index.js';
import { resultOf } from '../hand-over.js';
import { MetricLog } from '../metrics.js';
import type { Snapshot } from '../snapshot.js';
import { readSnapshot, stageAt } from '../snapshot.js';
import { openSource } from '../stage-batches.js';
import { openState } from '../stage-state.js';
import type { TrainConfig } from '../config.js';
import type { Stage } from '../stages.js';
import { stagesOf, trainedSpecs } from '../stages.js';
import type { TrainState } from '../state.js';
import type { TrainResult } from '../trainer.js';
import { thisMember } from './identity.js';
import { Member } from './member.js';
import type { TrainTogetherOptions } from './options.js';
import type { OuterState } from './outer-state.js';
import { enterStage } from './outer-state.js';
import { Replica } from './replica.js';
import type { Joined } from './round-training.js';
import { RoundTraining, innerStart } from './round-training.js';
import type { ClosedRound, Round } from './rounds.js';
import { Rounds, nextRound } from './rounds.js';
import { enterRun } from './run-record.js';

/**
 * Trains as one of several machines until the last train step or until stopped. The result is the same on all
 * of them, to the bit.
 *
 * @throws ConfigError if the run or the folder's snapshot has other settings, or the loss or a gradient stops
 * being finite and may not be given up; CheckpointError if something is missing in the store
 */
export async function trainTogether(options: TrainTogetherOptions): Promise<TrainResult> {
  const { config, store, folder, signal, now, onNote } = options;
  const { outer } = config;
  if (!outer) {
    throw new ConfigError('outer', 'outer is missing: how machines exchange. Give it; {} will do.');
  }
  const stages = stagesOf(config);
  checkAverages(stages);
  checkAdapter(config);
  const run = await enterRun(store, config, options.weights);
  const id = await thisMember(folder, run.id, options.machine, store.name);
  const snapshot = await readSnapshot(folder, config);
  const rounds = new Rounds(store, (closed) => nextRound(closed, stages, outer.everyTrainSteps));
  const onRound = (number: number, round: ClosedRound) => {
    if (number > 0) onNote(describeRound(number, round, id));
  };
  const replica = await Replica.open({ store, config, stages, rounds, run, id, onRound });
  const member = new Member({ store, rounds, replica, id, outer, now, onWait: onNote, signal });
  const log = await MetricLog.open(folder, snapshot);
  const last = stages.at(-1)!;
  const totalTrainSteps = last.firstTrainStep + last.trainSteps;
  const joined: Joined = { ...options, outer, totalTrainSteps, log, id, replica, member };
  try {
    await trainRounds(joined, snapshot);
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
  }
  const { state } = replica;
  const stage = stageAt(config, state.trainSteps);
  return {
    weights: resultOf({ weights: enterStage(stage, state).weights, slots: new Map() }),
    model: stage.model,
    trainStepsDone: state.trainSteps,
    finished: replica.isFinished,
  };
}

async function trainRounds(joined: Joined, snapshot: Snapshot | undefined): Promise<void> {
  const { member, signal } = joined;
  member.live();
  try {
    let own = snapshot;
    let round = await member.place();
    while (round && !signal?.aborted) ({ round, own } = await trainStage(joined, round, own));
  } finally {
    await member.leave();
  }
}

/** What a stage, or the part of it that this machine was there for, comes to. */
interface StageEnd {
  /** The round that goes on; undefined at the end of the run, or if the signal has aborted. */
  readonly round: Round | undefined;
  readonly own: Snapshot | undefined;
}

/** Trains rounds until the stage ends, the signal aborts, or a round is given up. */
async function trainStage(
  joined: Joined,
  first: Round,
  own: Snapshot | undefined,
): Promise<StageEnd> {
  const { config, replica, member, device, helpers } = joined;
  const { stage } = replica.span;
  const source = await openSource(joined.source, stage);
  const inner = innerStart(config, stage, own);
  // Where this machine was stopped in the middle of this very round.
  let resumed = own?.exchange?.round === replica.state.round ? own : undefined;
  const { weights } = resumed ?? enterStage(stage, replica.state);
  const start = { weights, slots: inner.slots, trainSteps: first.trainSteps };
  const state = await openState(device, stage, start, source, { ...(helpers && { helpers }) });
  const training = new RoundTraining(joined, stage, source, state, inner);
  try {
    for (let current = first; ;) {
      const before = replica.state.trainSteps;
      const end = await training.train(current, resumed);
      resumed = undefined;
      if (end === 'stopped') return { round: undefined, own };
      const round = await member.place();
      if (stageAt(config, replica.state.trainSteps).index === stage.index) {
        await state.setWeights(trainedWeights(stage, replica.state));
        await evaluate(joined, stage, state, before);
      }
      const goesOn = replica.span.stage.index === stage.index && end === 'done';
      if (!round || !goesOn) return { round, own: await training.lastSnapshot() };
      current = round;
    }
  } finally {
    await state.dispose();
  }
}

function trainedWeights(stage: Stage, state: OuterState): ModelWeights {
  const { weights } = enterStage(stage, state);
  return new Map(trainedSpecs(stage).map(({ hfName }) => [hfName, weights.get(hfName)!]));
}

/** Looks at the common weights, if that is due since some train steps ago. */
async function evaluate(
  { config, replica, log, evaluate: look }: Joined,
  stage: Stage,
  state: TrainState,
  before: number,
): Promise<void> {
  const { trainSteps } = replica.state;
  const countOf = (steps: number) => Math.floor(steps / config.evaluateEvery);
  const isLast = trainSteps === stage.firstTrainStep + stage.trainSteps;
  const isDue = trainSteps > before && (isLast || countOf(trainSteps) > countOf(before));
  if (!look || !isDue) return;
  log.addEvaluation(trainSteps, await look(state.residentWeights, trainSteps, stage.model));
  await log.flush();
}

function checkAdapter({ lora }: TrainConfig): void {
  if (!lora) return;
  throw new ConfigError(
    'lora',
    'lora is given; machines that train together exchange the weights of the model, and an adapter is trained on one. Leave lora out, or train alone.',
  );
}

function checkAverages(stages: readonly Stage[]): void {
  for (const { name, optimizer } of stages) {
    if ('step' in optimizer || optimizer.averageDecay === undefined) continue;
    throw new ConfigError(
      'optimizer.averageDecay',
      `averageDecay is ${optimizer.averageDecay} in ${name}; machines that train together take a mean already. Leave it out.`,
    );
  }
}

function describeRound(number: number, { members, closed, results }: ClosedRound, id: string) {
  const { deltas, refused } = closed;
  const losses = deltas.flatMap(({ member }) => {
    const result = results[member];
    return result && 'loss' in result ? [result.loss] : [];
  });
  const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
  const parts = [
    `${deltas.length} of ${members.length} machines count`,
    ...(losses.length > 0 ? [`loss ${loss.toFixed(3)}`] : []),
    ...refused.map(({ member, why }) => `${member} does not: ${why}`),
    ...(members.includes(id) && !results[id] ? ['this machine was too late'] : []),
  ];
  return `round ${number}: ${parts.join(', ')}`;
}
