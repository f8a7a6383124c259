/**
 * The trainer's side of rollouts on other machines: it hands out weights and what is to be drawn, and takes
 * what was drawn.
 *
 * A group of answers is one job. A job may be done twice, or by a worker that is out of date; a group counts
 * once, the first time that it comes as it was asked for, and what an answer is depends on nothing but request
 * and weights. So which worker has drawn it, and how often, changes nothing.
 */
import type { SharedStore, WorkQueue } from '../../cluster/index.js';
import { getByDigest, putByDigest } from '../../cluster/index.js';
import { ServerError, assert } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import { modelConfigToJson } from '../../model/index.js';
import type { PolicyMoment } from '../../train/index.js';
import type { GroupAnswer, GroupRequest } from '../answers.js';
import type { RolloutProvider } from '../provider.js';
import type { CheckedAnswers } from './check-answers.js';
import { checkAnswers } from './check-answers.js';
import type { PolicyRecord, RolloutJob, RolloutResult } from './messages.js';
import {
  ANSWERS_KIND,
  JOBS,
  POLICY_KEY,
  RESULTS,
  SILENCE_SECONDS,
  WEIGHTS_KIND,
  readPolicy,
  readResult,
} from './messages.js';
import { encodeWeights } from './weights.js';

export interface WorkerRolloutsOptions {
  readonly store: SharedStore;
  /** Updates that the weights which draw may be behind; as the settings say. */
  readonly staleness: number;
  /** Called with what is waited for, and what is refused, a line each. */
  readonly onNote: (line: string) => void;
}

/** What was asked for an update. */
interface Flight {
  readonly model: LoopLMConfig;
  readonly groups: readonly {
    readonly request: GroupRequest;
    answers?: readonly GroupAnswer[];
    refusals: number;
  }[];
}

/** The weights that draw, as workers know them. */
interface Session {
  readonly name: string;
  readonly jobs: WorkQueue;
  readonly results: WorkQueue;
  /** Objects of weights by version. */
  readonly weights: Map<number, string>;
  /** By train step. */
  readonly flights: Map<number, Flight>;
}

/** Seconds without a result before it is told what is waited for. */
const NOTE_SECONDS = 5;
/** A group that is refused more often will be refused for ever. */
const MAX_REFUSALS = 3;

export class WorkerRollouts implements RolloutProvider {
  readonly #options: WorkerRolloutsOptions;
  #session: Session | undefined;
  #model: LoopLMConfig | undefined;
  /** The session that the store had from here last. */
  #claimed: string | undefined;

  constructor(options: WorkerRolloutsOptions) {
    this.#options = options;
  }

  /**
   * Hands the weights out. The first time it takes over the store: what another trainer has left is removed.
   *
   * @throws ServerError if another trainer has taken over the store; CheckpointError for weights that are not
   * finite
   */
  async useWeights({ trainStep, weights, model }: PolicyMoment): Promise<void> {
    const { store, staleness } = this.#options;
    const bytes = await encodeWeights(weights, model);
    const isNew = this.#session === undefined;
    const session = (this.#session ??= await openSession(store));
    this.#model = model;
    const object = await putByDigest(store, `${WEIGHTS_KIND}-${session.name}-${trainStep}`, bytes);
    await this.#publish({
      session: session.name,
      version: trainStep,
      weights: object,
      model: modelConfigToJson(model, 'float32'),
    });
    if (isNew) await this.#clear(session);
    session.weights.set(trainStep, object);
    // the last one may be on its way to a worker
    const oldest = trainStep - Math.max(1, staleness);
    for (const [version, name] of session.weights) {
      if (version >= oldest) continue;
      session.weights.delete(version);
      await store.removeObject(name);
    }
  }

  async ask(trainStep: number, requests: readonly GroupRequest[]): Promise<void> {
    const { flights } = this.#current();
    const groups = requests.map((request) => ({ request, refusals: 0 }));
    flights.set(trainStep, { model: this.#model!, groups });
    for (const group of requests.keys()) await this.#put(trainStep, group);
  }

  async *answers(trainStep: number, signal: AbortSignal | undefined): AsyncGenerator<GroupAnswer> {
    const { flights } = this.#current();
    const { groups } = flights.get(trainStep)!;
    const told = new Set<number>();
    let idleSeconds = 0;
    for (;;) {
      for (const [group, { answers }] of groups.entries()) {
        if (!answers || told.has(group)) continue;
        told.add(group);
        yield* answers;
      }
      if (told.size === groups.length) break;
      const hasCome = await this.#take();
      signal?.throwIfAborted();
      idleSeconds = hasCome ? 0 : idleSeconds + 1;
      if (!hasCome) await this.#wait(trainStep, idleSeconds);
    }
    flights.delete(trainStep);
  }

  forget(): void {
    this.#session = undefined;
  }

  /** Workers have nothing more to do until there are weights again. */
  async release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    // what is left where the server is away is removed by the next session
    await session?.jobs.clear().catch(() => {});
  }

  /** The run is over: removes all that is its own from the store, so that workers end. */
  async finish(): Promise<void> {
    const { store } = this.#options;
    if (this.#claimed !== undefined) await this.#checkOwn();
    await store.remove(POLICY_KEY);
    await this.#clear(await openSession(store));
  }

  #current(): Session {
    assert(this.#session, 'weights come before what is asked of them');
    return this.#session;
  }

  /** Removes what is not of a session. */
  async #clear({ name, jobs, results }: Pick<Session, 'name' | 'jobs' | 'results'>): Promise<void> {
    const { store } = this.#options;
    await jobs.clear();
    await results.clear();
    for (const object of await store.objectNames()) {
      const [, kind, session] = /^(\w+)-(\w+)-/.exec(object) ?? [];
      const isOwn = kind === WEIGHTS_KIND || kind === ANSWERS_KIND;
      if (isOwn && session !== name) await store.removeObject(object);
    }
  }

  /** Tells workers of weights, unless they have another trainer by now. */
  async #publish(policy: PolicyRecord): Promise<void> {
    const { store } = this.#options;
    for (;;) {
      const revision = await this.#checkOwn();
      // what says that it failed may have written; then it is our own
      if (await store.write(POLICY_KEY, JSON.stringify(policy), revision)) break;
    }
    this.#claimed = policy.session;
  }

  /** Revision of the record that workers read. @throws ServerError if it is of another trainer */
  async #checkOwn(): Promise<number> {
    const { store } = this.#options;
    const found = await store.read(POLICY_KEY);
    const session = found && readPolicy(found.text)?.session;
    if (this.#claimed !== undefined && session !== this.#claimed) {
      throw new ServerError(
        `Another trainer has taken over ${store.name}, with its workers. Stop one of them; the same command goes on from the last snapshot.`,
      );
    }
    return found?.revision ?? 0;
  }

  async #put(trainStep: number, group: number): Promise<void> {
    const { name, jobs, flights } = this.#current();
    const { request } = flights.get(trainStep)!.groups[group]!;
    const job: RolloutJob = { session: name, trainStep, group, request };
    await jobs.put(JSON.stringify(job));
  }

  /** Takes a result, of whatever update; false if none came. */
  async #take(): Promise<boolean> {
    const { results, name } = this.#current();
    const taken = await results.take(1);
    if (!taken) return false;
    const result = readResult(taken.text);
    if (result?.session === name) await this.#receive(result);
    await taken.complete();
    return true;
  }

  async #receive(result: RolloutResult): Promise<void> {
    const { store, onNote } = this.#options;
    const { trainStep, group } = result;
    const flight = this.#current().flights.get(trainStep);
    const asked = flight?.groups[group];
    if (asked && !asked.answers) {
      const checked = await this.#check(result, asked.request, flight.model);
      if ('answers' in checked) {
        const staleness = trainStep - result.version;
        asked.answers = checked.answers.map((answer, index) => {
          return { ...answer, group, index, staleness };
        });
      } else {
        const sentence = `group ${group} of train step ${trainStep + 1} is refused: ${checked.fault}`;
        if (++asked.refusals > MAX_REFUSALS) {
          throw new ServerError(
            `${sentence}; that was the ${asked.refusals}th time. See that all workers of ${store.name} are of this version of looplm.`,
          );
        }
        onNote(`${sentence}; it is drawn again`);
        await this.#put(trainStep, group);
      }
    }
    await store.removeObject(result.answers);
  }

  async #check(
    { trainStep, version, weights, answers }: RolloutResult,
    request: GroupRequest,
    model: LoopLMConfig,
  ): Promise<CheckedAnswers> {
    const { store, staleness } = this.#options;
    const { weights: known } = this.#current();
    if (known.get(version) !== weights) {
      return { fault: `it was drawn by weights that are unknown, version ${version}` };
    }
    if (version < trainStep - staleness) {
      return { fault: `its weights are ${trainStep - version} updates old` };
    }
    const bytes = await getByDigest(store, answers);
    if (!bytes) return { fault: 'its answers are not in the store' };
    return checkAnswers(bytes, request, version, model);
  }

  /** Does what there is to do while nothing comes. */
  async #wait(trainStep: number, idleSeconds: number): Promise<void> {
    const { store, onNote } = this.#options;
    await this.#checkOwn();
    const { jobs, results, flights } = this.#current();
    const missing = flights
      .get(trainStep)!
      .groups.flatMap(({ answers }, group) => (answers ? [] : [group]));
    if (idleSeconds % SILENCE_SECONDS === NOTE_SECONDS) {
      onNote(
        `waiting for ${missing.length} groups of train step ${trainStep + 1}; workers join with: looplm rl --join nats://${store.name}`,
      );
    }
    // a server that lost what it had must not stop the run
    const mayBeLost = idleSeconds % SILENCE_SECONDS === 0;
    if (!mayBeLost || !(await jobs.isEmpty()) || !(await results.isEmpty())) return;
    for (const group of missing) await this.#put(trainStep, group);
  }
}

async function openSession(store: SharedStore): Promise<Session> {
  return {
    name: crypto.randomUUID().replaceAll('-', '').slice(0, 12),
    jobs: await store.queue(JOBS, SILENCE_SECONDS),
    results: await store.queue(RESULTS, SILENCE_SECONDS),
    weights: new Map(),
    flights: new Map(),
  };
}
