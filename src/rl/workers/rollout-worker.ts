/**
 * A worker: draws rollouts for a trainer on another machine, with the newest weights that there are.
 *
 * It knows no task and no text: model, weights and requests come from the store. It may stop or die at any
 * moment; what it held is then drawn by another.
 */
import type { QueuedJob, SharedStore, WorkQueue } from '../../cluster/index.js';
import { getByDigest, putByDigest } from '../../cluster/index.js';
import { Engine, UpdatableWeights } from '../../engine/index.js';
import { CheckpointError } from '../../errors.js';
import { parseModelConfig } from '../../model/index.js';
import type { Device } from '../../runtime/index.js';
import type { DrawnAnswer } from '../answers.js';
import { drawAnswers } from '../answers.js';
import { encodeAnswers } from './check-answers.js';
import type { PolicyRecord, RolloutJob, RolloutResult } from './messages.js';
import {
  ANSWERS_KIND,
  JOBS,
  POLICY_KEY,
  RESULTS,
  SILENCE_SECONDS,
  readJob,
  readPolicy,
} from './messages.js';
import { decodeWeights } from './weights.js';

export interface RolloutWorkerOptions {
  readonly store: SharedStore;
  readonly device: Device;
  /** Called with what is waited for, a line each. */
  readonly onNote: (line: string) => void;
  /** Called after each group that was drawn, with the update that it is for. */
  readonly onGroup?: (drawn: { readonly trainStep: number; readonly version: number }) => void;
  /** Gives back what is being drawn, and ends. */
  readonly signal?: AbortSignal | undefined;
}

/** The weights that an engine has. */
interface Loaded {
  readonly engine: Engine;
  readonly weights: UpdatableWeights;
  /** config.json of their model. */
  readonly model: string;
  /** The object that they are from. */
  object: string;
}

/**
 * Draws until the run is over or the signal aborts.
 *
 * @throws LoopLMError if the store holds what this version cannot use; what was being drawn is given back
 */
export async function drawForTrainer(options: RolloutWorkerOptions): Promise<void> {
  const { store, signal } = options;
  const worker = new RolloutWorker(options, {
    jobs: await store.queue(JOBS, SILENCE_SECONDS),
    results: await store.queue(RESULTS, SILENCE_SECONDS),
  });
  try {
    await worker.work();
  } catch (error) {
    if (!signal?.aborted || error !== signal.reason) throw error;
  } finally {
    await worker.dispose();
  }
}

class RolloutWorker {
  readonly #options: RolloutWorkerOptions;
  readonly #jobs: WorkQueue;
  readonly #results: WorkQueue;
  #loaded: Loaded | undefined;

  constructor(
    options: RolloutWorkerOptions,
    { jobs, results }: { readonly jobs: WorkQueue; readonly results: WorkQueue },
  ) {
    this.#options = options;
    this.#jobs = jobs;
    this.#results = results;
  }

  async work(): Promise<void> {
    const { store, signal, onNote } = this.#options;
    let hasTrainer: boolean | undefined;
    while (!signal?.aborted) {
      const job = await this.#jobs.take(1);
      if (job) {
        hasTrainer = true;
        await this.#do(job);
        continue;
      }
      const isThere = (await this.#policy()) !== undefined;
      if (hasTrainer && !isThere) return onNote(`the run of ${store.name} is over`);
      if (hasTrainer === undefined && !isThere) onNote(`waiting for a trainer at ${store.name}`);
      hasTrainer = isThere;
    }
  }

  async dispose(): Promise<void> {
    const loaded = this.#loaded;
    this.#loaded = undefined;
    await loaded?.engine.dispose();
    await loaded?.weights.dispose();
  }

  /** Draws what a job asks for; one of the past is dropped. */
  async #do(taken: QueuedJob): Promise<void> {
    const job = readJob(taken.text);
    const keeping = setInterval(() => taken.keep(), (1000 * SILENCE_SECONDS) / 5);
    try {
      if (this.#options.signal?.aborted) await taken.giveBack();
      else {
        if (job) await this.#draw(job);
        await taken.complete();
      }
    } catch (error) {
      await taken.giveBack();
      throw error;
    } finally {
      clearInterval(keeping);
    }
  }

  async #draw(job: RolloutJob): Promise<void> {
    const { store, signal, onGroup } = this.#options;
    const { session, trainStep, group, request } = job;
    const found = await this.#prepared(job);
    if (!found) return;
    const { engine, policy } = found;
    const { version, weights } = policy;
    const drawn: DrawnAnswer[] = [];
    for await (const answer of drawAnswers(engine, [request], signal)) {
      const { index, record, executedLoops, fullDepthLoops } = answer;
      const named = { ...record, weightsVersion: version };
      drawn[index] = { record: named, executedLoops, fullDepthLoops };
    }
    const kind = `${ANSWERS_KIND}-${session}-${trainStep}-${group}`;
    const answers = await putByDigest(store, kind, encodeAnswers(drawn));
    const result: RolloutResult = { session, trainStep, group, version, weights, answers };
    await this.#results.put(JSON.stringify(result));
    onGroup?.({ trainStep, version });
  }

  async #policy(): Promise<PolicyRecord | undefined> {
    const found = await this.#options.store.read(POLICY_KEY);
    return found && readPolicy(found.text);
  }

  /** An engine with the newest weights; undefined if the job is of the past. */
  async #prepared({ session, trainStep }: RolloutJob) {
    const { store } = this.#options;
    let missing: string | undefined;
    for (;;) {
      const policy = await this.#policy();
      if (policy?.session !== session || policy.version > trainStep) return undefined;
      const { weights: object } = policy;
      if (this.#loaded?.object === object) return { engine: this.#loaded.engine, policy };
      if (missing === object) {
        throw new CheckpointError(
          `${store.name} lacks its weights ${object}: something has been removed from it. Start the trainer again.`,
        );
      }
      const bytes = await getByDigest(store, object);
      if (bytes) await this.#load(policy, bytes);
      else missing = object; // newer ones may have taken their place just now
    }
  }

  async #load({ model: json, weights: object }: PolicyRecord, bytes: Uint8Array): Promise<void> {
    const { device, store } = this.#options;
    const values = await decodeWeights(object, bytes);
    const model = JSON.stringify(json);
    if (this.#loaded?.model === model) {
      await this.#loaded.weights.update(values);
      this.#loaded.object = object;
      return;
    }
    await this.dispose();
    const { config } = parseModelConfig(json, `the model of ${store.name}`);
    const weights = await UpdatableWeights.create(device, config, values);
    const engine = await Engine.create({ device, config, weights });
    this.#loaded = { engine, weights, model, object };
  }
}
