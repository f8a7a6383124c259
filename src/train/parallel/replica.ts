/**
 * The state of a run as one machine holds it: brought up to date from the store, round by round.
 *
 * Every machine adds up the same deltas in the same order, so all hold the same bits. One that was away
 * begins with the newest snapshot and does the rounds after it; what is older is removed from the store.
 */
import { z } from 'zod';
import type { SharedStore } from '../../cluster/index.js';
import { getByDigest, putByDigest } from '../../cluster/index.js';
import { CheckpointError, LoopLMError } from '../../errors.js';
import type { TrainConfig } from '../config.js';
import type { Stage } from '../stages.js';
import { trainedSpecs } from '../stages.js';
import type { Delta } from './deltas.js';
import { readDelta } from './deltas.js';
import type { OuterState } from './outer-state.js';
import { afterRound, decodeState, encodeState } from './outer-state.js';
import type { ClosedRound, Round, Rounds, RoundSpan } from './rounds.js';
import { isClosed, paddedRound, spanAt } from './rounds.js';
import type { RunRecord } from './run-record.js';
import { STATE_KIND } from './run-record.js';

/** Says which snapshot is the newest. */
const STATE_KEY = 'state';
const stateSchema = z.strictObject({ round: z.int(), object: z.string() });

const DELTA_KIND = 'delta';

/** A delta that can be added up, or why it cannot. */
type CheckedDelta =
  | { readonly delta: Delta }
  | { readonly why: string; readonly isMissing: boolean };

export interface ReplicaOptions {
  readonly store: SharedStore;
  readonly config: TrainConfig;
  readonly stages: readonly Stage[];
  readonly rounds: Rounds;
  readonly run: RunRecord;
  /** This machine, among the members of rounds. */
  readonly id: string;
  /** Called when a round is done with. */
  readonly onRound: (number: number, round: ClosedRound) => void;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #deltas = new Map<string, Promise<CheckedDelta>>();
  #state: OuterState;

  private constructor(options: ReplicaOptions, state: OuterState) {
    this.#options = options;
    this.#state = state;
  }

  static async open(options: ReplicaOptions): Promise<Replica> {
    return new Replica(options, await loadNewest(options));
  }

  get state(): OuterState {
    return this.#state;
  }

  /** What the round that begins with the state trains. */
  get span(): RoundSpan {
    const { stages, config } = this.#options;
    return spanAt(stages, config.outer!.everyTrainSteps, this.#state.trainSteps);
  }

  get isFinished(): boolean {
    const last = this.#options.stages.at(-1)!;
    return this.#state.trainSteps === last.firstTrainStep + last.trainSteps;
  }

  /**
   * Does all rounds that are closed.
   *
   * @returns the round that is open; undefined after the last one
   */
  async catchUp(): Promise<Round | undefined> {
    const { rounds } = this.#options;
    for (;;) {
      if (this.isFinished) return undefined;
      const found = await rounds.read(this.#state.round);
      if (!found) {
        if (!(await rounds.open(this.#state.round))) await this.#jump();
      } else if (isClosed(found.round)) {
        if (!(await this.#apply(found.round))) await this.#jump();
      } else if (await this.#isPast()) {
        await this.#jump();
      } else {
        return found.round;
      }
    }
  }

  /**
   * Whether the others are far ahead: one that stood still while it opened a round may have opened one that
   * was over and removed meanwhile.
   */
  async #isPast(): Promise<boolean> {
    const newest = await newestOf(this.#options.store);
    return newest !== undefined && newest.round > this.#state.round;
  }

  /** Stores what this machine came to in the open round; returns the name of the object. */
  async store(bytes: Uint8Array): Promise<string> {
    const kind = `${DELTA_KIND}-${paddedRound(this.#state.round)}`;
    const name = await putByDigest(this.#options.store, kind, bytes);
    this.#deltas.set(name, this.#read(bytes)); // need not be fetched
    return name;
  }

  /** Begins to fetch the deltas that a round has so far. */
  fetchAhead({ results }: Round): void {
    for (const result of Object.values(results)) {
      if ('delta' in result) void this.#checked(result.delta);
    }
  }

  /** What counts of an open round as it is, in the order of its members. */
  async countable({ members, results }: Round): Promise<ClosedRound['closed']> {
    const deltas: ClosedRound['closed']['deltas'] = [];
    const refused: ClosedRound['closed']['refused'] = [];
    for (const member of members) {
      const result = results[member];
      if (!result || !('delta' in result)) continue;
      const checked = await this.#checked(result.delta);
      if ('delta' in checked) deltas.push({ member, delta: result.delta });
      else refused.push({ member, why: checked.why });
    }
    return { deltas, refused };
  }

  /** Adds up a closed round; false if its deltas are not in the store any more. */
  async #apply(round: ClosedRound): Promise<boolean> {
    const { config, id, onRound } = this.#options;
    const { span } = this;
    const number = this.#state.round;
    const deltas: Delta[] = [];
    for (const { delta, member } of round.closed.deltas) {
      const checked = await this.#checked(delta);
      if ('delta' in checked) {
        deltas.push(checked.delta);
        continue;
      }
      if (checked.isMissing) return false;
      throw new CheckpointError(`Round ${number} counts the delta of ${member}: ${checked.why}`);
    }
    this.#state = afterRound(this.#state, span, deltas, config.outer!);
    this.#deltas.clear();
    onRound(number, round);
    const isDue = this.isFinished || this.#state.round % config.outer!.snapshotEvery === 0;
    // One machine is enough; if it fails, the next time another one may be the first.
    if (isDue && round.closed.deltas[0]?.member === id) await this.#save();
    return true;
  }

  /** Goes on from the newest snapshot, since what lies between is removed. */
  async #jump(): Promise<void> {
    this.#deltas.clear();
    const newest = await loadNewest(this.#options);
    if (newest.round <= this.#state.round) {
      throw new CheckpointError(
        `${this.#options.store.name} lacks what round ${this.#state.round} came to: something has been removed from it. Begin a new run under another name.`,
      );
    }
    this.#state = newest;
  }

  #checked(name: string): Promise<CheckedDelta> {
    const known = this.#deltas.get(name);
    if (known) return known;
    const checking = this.#check(name);
    checking.catch(() => this.#deltas.delete(name)); // not fetched: to be tried again
    this.#deltas.set(name, checking);
    return checking;
  }

  async #check(name: string): Promise<CheckedDelta> {
    const bytes = await getByDigest(this.#options.store, name);
    return bytes ? this.#read(bytes) : { why: 'it is not in the store', isMissing: true };
  }

  async #read(bytes: Uint8Array): Promise<CheckedDelta> {
    const { deltas } = this.#options.config.outer!;
    try {
      return { delta: await readDelta(deltas, trainedSpecs(this.span.stage), bytes) };
    } catch (error) {
      if (error instanceof LoopLMError) return { why: error.message, isMissing: false };
      throw error;
    }
  }

  /** Stores a snapshot of the state, and removes what it makes superfluous. */
  async #save(): Promise<void> {
    const { store, config, rounds } = this.#options;
    const { round } = this.#state;
    const before = await newestOf(store);
    if (before && before.round >= round) return;
    const kind = `${STATE_KIND}-${paddedRound(round)}`;
    const object = await putByDigest(store, kind, encodeState(config, this.#state));
    const text = JSON.stringify({ round, object });
    if (!(await store.write(STATE_KEY, text, before?.revision ?? 0))) return; // another machine has
    // The round before is what the next one follows from.
    await rounds.remove(Math.max(0, (before?.round ?? 0) - 1), round - 1);
    for (const name of await store.objectNames()) {
      const [, number] = OBJECT_NAME.exec(name) ?? [];
      if (number === undefined || name === object) continue;
      if (number === 'start' || Number(number) < round) await store.removeObject(name);
    }
  }
}

const OBJECT_NAME = new RegExp(`^(?:${DELTA_KIND}|${STATE_KIND})-(\\d+|start)-`);

/** What is known of the newest snapshot; undefined if there is only the start of the run. */
async function newestOf(store: SharedStore) {
  const found = await store.read(STATE_KEY);
  if (!found) return undefined;
  return { ...stateSchema.parse(JSON.parse(found.text)), revision: found.revision };
}

/** The newest snapshot in the store. */
async function loadNewest({ store, config, run }: ReplicaOptions): Promise<OuterState> {
  for (;;) {
    const newest = await newestOf(store);
    const name = newest?.object ?? run.start;
    const bytes = await getByDigest(store, name);
    if (bytes) return decodeState(config, bytes);
    // A newer one may have taken its place just now.
    if ((await newestOf(store))?.revision !== newest?.revision) continue;
    throw new CheckpointError(
      `${store.name} lacks its snapshot ${name}: something has been removed from it. Begin a new run under another name.`,
    );
  }
}
