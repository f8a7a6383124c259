/**
 * Rounds: how machines that never talk to each other agree on what was learnt, and by whom.
 *
 * A round is one record. Its members are known when it opens; each adds what it came to; whoever finds
 * that nobody is left to be waited for closes it, by a compare-and-set that lists the deltas that count in
 * their order. The next round follows from that record alone: its members, its train steps and which data
 * each member reads. So there is nothing else to agree on, and a round in which nothing counted is done
 * again with further data.
 */
import { z } from 'zod';
import type { SharedStore } from '../../cluster/index.js';
import { CheckpointError } from '../../errors.js';
import type { Stage } from '../stages.js';
import { microBatchesBefore } from '../stages.js';

const resultSchema = z.union([
  z.strictObject({
    /** Name of the object. */
    delta: z.string(),
    /** Mean loss of the round. */
    loss: z.number(),
    /** How long it took. */
    seconds: z.number(),
  }),
  /** Why nothing came of it. */
  z.strictObject({ passed: z.string() }),
]);

const roundSchema = z.strictObject({
  /** Train steps of each machine before the round. */
  trainSteps: z.int(),
  /** Updates of the run, and micro-batches of the stage, whose data were given out before. */
  updatesBefore: z.int(),
  microBatchesBefore: z.int(),
  /** In the order in which data are given out and deltas are added. */
  members: z.array(z.string()),
  results: z.record(z.string(), resultSchema),
  /** Who wants to be a member of the next round, and which members do not. */
  joining: z.array(z.string()),
  leaving: z.array(z.string()),
  closed: z
    .strictObject({
      /** What counts, in the order in which it is added up. */
      deltas: z.array(z.strictObject({ member: z.string(), delta: z.string() })),
      refused: z.array(z.strictObject({ member: z.string(), why: z.string() })),
    })
    .optional(),
});

export type RoundResult = Readonly<z.output<typeof resultSchema>>;
export type Round = Readonly<z.output<typeof roundSchema>>;
export type ClosedRound = Round & { readonly closed: NonNullable<Round['closed']> };

export const isClosed = (round: Round): round is ClosedRound => round.closed !== undefined;

/** Gathers the machines that begin: it has no members, and nothing is trained in it. */
const FIRST_ROUND: Round = {
  trainSteps: 0,
  updatesBefore: 0,
  microBatchesBefore: 0,
  members: [],
  results: {},
  joining: [],
  leaving: [],
};

/** What is trained in a round. */
export interface RoundSpan {
  readonly stage: Stage;
  /** From the stage's first train step. */
  readonly first: number;
  readonly count: number;
}

/** The stage that is trained after so many train steps, up to its end at most. */
export function spanAt(
  stages: readonly Stage[],
  everyTrainSteps: number,
  trainSteps: number,
): RoundSpan {
  const isDone = (it: Stage) => it.firstTrainStep + it.trainSteps <= trainSteps;
  const stage = stages.find((it) => !isDone(it)) ?? stages.at(-1)!;
  const first = trainSteps - stage.firstTrainStep;
  return { stage, first, count: Math.min(everyTrainSteps, stage.trainSteps - first) };
}

const microBatchesOf = ({ stage, first, count }: RoundSpan) =>
  microBatchesBefore(stage, first + count) - microBatchesBefore(stage, first);

/**
 * Where a member finds its data for an update. No two updates of the run have the same train step, and no two
 * micro-batches of a stage the same number: sources go by either.
 */
export function dataOf(
  { updatesBefore, microBatchesBefore: before, members }: Round,
  span: RoundSpan,
  member: string,
  inRound: number,
): { readonly trainStep: number; readonly first: number } {
  const place = members.indexOf(member);
  const { stage, first, count } = span;
  const inSpan = microBatchesBefore(stage, first + inRound) - microBatchesBefore(stage, first);
  return {
    trainStep: updatesBefore + place * count + inRound,
    first: before + place * microBatchesOf(span) + inSpan,
  };
}

/** The round after one that is closed. */
export function nextRound(
  round: ClosedRound,
  stages: readonly Stage[],
  everyTrainSteps: number,
): Round {
  const { members, results, joining, leaving, closed } = round;
  const span = spanAt(stages, everyTrainSteps, round.trainSteps);
  const hasLearnt = closed.deltas.length > 0;
  const trainSteps = round.trainSteps + (hasLearnt ? span.count : 0);
  const isNewStage = hasLearnt && span.first + span.count === span.stage.trainSteps;
  return {
    ...FIRST_ROUND,
    trainSteps,
    updatesBefore: round.updatesBefore + members.length * span.count,
    microBatchesBefore: isNewStage
      ? 0
      : round.microBatchesBefore + members.length * microBatchesOf(span),
    members: [
      ...members.filter((id) => results[id] !== undefined && !leaving.includes(id)),
      ...joining,
    ],
  };
}

/** The records of the rounds in a store. */
export class Rounds {
  readonly #store: SharedStore;
  readonly #next: (closed: ClosedRound) => Round;

  constructor(store: SharedStore, next: (closed: ClosedRound) => Round) {
    this.#store = store;
    this.#next = next;
  }

  /** A round as it is; undefined if it has not begun, or is long past and removed. */
  async read(
    number: number,
  ): Promise<{ readonly round: Round; readonly revision: number } | undefined> {
    const record = await this.#store.read(keyOf(number));
    if (!record) return undefined;
    try {
      return { round: roundSchema.parse(JSON.parse(record.text)), revision: record.revision };
    } catch (cause) {
      throw new CheckpointError(
        `The record of round ${number} in ${this.#store.name} cannot be read; something else has written it. Begin a new run under another name.`,
        { cause },
      );
    }
  }

  /** Opens a round if the one before it is closed and it is not open yet; whether it is now. */
  async open(number: number): Promise<boolean> {
    const before = number === 0 ? undefined : await this.read(number - 1);
    if (number > 0 && !(before && isClosed(before.round))) return false;
    const round = before ? this.#next(before.round as ClosedRound) : FIRST_ROUND;
    await this.#store.write(keyOf(number), JSON.stringify(round), 0);
    return true;
  }

  /** Compare-and-set; whether it was written. */
  write(number: number, round: Round, revision: number): Promise<boolean> {
    return this.#store.write(keyOf(number), JSON.stringify(round), revision);
  }

  /**
   * Changes a round as long as it is open.
   *
   * @param change - undefined where there is nothing to change; may be called again for a newer record
   */
  async change(number: number, change: (round: Round) => Round | undefined): Promise<void> {
    for (;;) {
      const found = await this.read(number);
      if (!found || isClosed(found.round)) return;
      const changed = change(found.round);
      if (!changed || (await this.write(number, changed, found.revision))) return;
      // Of many that write at once, one wins each time.
      const wait = Math.random() * Math.min(MAX_WAIT_MS, WAIT_MS * found.round.members.length);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** Removes the records of rounds from one to below another. */
  async remove(from: number, end: number): Promise<void> {
    for (let number = from; number < end; number++) await this.#store.remove(keyOf(number));
  }
}

const WAIT_MS = 2;
const MAX_WAIT_MS = 1000;

const keyOf = (number: number) => `round.${paddedRound(number)}`;

/** In names: sorted as numbers are. */
export const paddedRound = (number: number) => String(number).padStart(8, '0');
