/**
 * What one machine does in a round: its train steps, from the weights of all, and the delta that it hands in.
 */
import type { BatchSource, TrainingBatch } from '../../data/index.js';
import type { OuterSettings, TrainConfig } from '../config.js';
import type { MetricLog } from '../metrics.js';
import type { ExchangeProgress, Snapshot } from '../snapshot.js';
import { RESIDUAL, readSnapshot, stageAt, writeSnapshot } from '../snapshot.js';
import type { Rollback, Spike } from '../spikes.js';
import { SpikeWatch, diverged, faultOf, mayGoBack } from '../spikes.js';
import { drawUpdate } from '../stage-batches.js';
import type { Stage } from '../stages.js';
import { accumulateAt, learningRateAt, loopsAt, trainedSpecs } from '../stages.js';
import type { TrainState, UpdateMetrics } from '../state.js';
import { recordOf } from '../trainer.js';
import { encodeDelta } from './deltas.js';
import type { Member } from './member.js';
import { enterStage } from './outer-state.js';
import type { Replica } from './replica.js';
import type { Round, RoundSpan } from './rounds.js';
import { dataOf } from './rounds.js';
import type { TrainTogetherOptions } from './options.js';

/** A run that this machine takes part in. */
export interface Joined extends TrainTogetherOptions {
  readonly outer: OuterSettings;
  readonly totalTrainSteps: number;
  readonly log: MetricLog;
  /** This machine, among the members of rounds. */
  readonly id: string;
  readonly replica: Replica;
  readonly member: Member;
}

/** What a machine keeps for itself from one round to the next. */
interface InnerStart {
  readonly slots: ReadonlyMap<string, Float32Array>;
  /** Updates since they were fresh. */
  readonly optimizerSteps: number;
  readonly recentLosses: readonly number[];
  readonly rollbacks: readonly Rollback[];
}

/** What a machine begins with in a stage, from its last snapshot. */
export function innerStart(
  config: TrainConfig,
  stage: Stage,
  own: Snapshot | undefined,
): InnerStart {
  const made = own && own.trainSteps > 0 ? stageAt(config, own.trainSteps) : undefined;
  const isSame = made?.index === stage.index;
  const isKept = isSame || (made?.index === stage.index - 1 && stage.keepsOptimizerState);
  return {
    slots: isKept ? own!.slots : new Map(),
    optimizerSteps: isKept ? (own!.exchange?.optimizerSteps ?? 0) : 0,
    recentLosses: isSame ? own!.recentLosses : [],
    rollbacks: own?.rollbacks ?? [],
  };
}

/** How far a machine is in a round, over all sittings. */
interface Progress extends Pick<ExchangeProgress, 'lossSum' | 'seconds' | 'delta'> {
  /** Train steps of the round. */
  readonly done: number;
}

/** How often a machine asks, while it trains, whether its round is over. */
const ASK_MS = 2000;

/** The rounds of one machine in a stage. */
export class RoundTraining {
  readonly #joined: Joined;
  readonly #stage: Stage;
  readonly #source: BatchSource;
  readonly #state: TrainState;
  readonly #watch: SpikeWatch;
  #optimizerSteps: number;
  #rollbacks: readonly Rollback[];
  /** By name of the weight; none if deltas are exact. */
  #residuals: ReadonlyMap<string, Float32Array>;
  #since: { time: number; tokens: number };

  constructor(
    joined: Joined,
    stage: Stage,
    source: BatchSource,
    state: TrainState,
    inner: InnerStart,
  ) {
    this.#joined = joined;
    this.#stage = stage;
    this.#source = source;
    this.#state = state;
    this.#watch = new SpikeWatch(joined.config.spikes, inner.recentLosses);
    this.#optimizerSteps = inner.optimizerSteps;
    this.#rollbacks = inner.rollbacks;
    this.#residuals = residualsOf(stage, joined.outer, inner.slots);
    this.#since = { time: joined.now(), tokens: 0 };
  }

  /**
   * Trains a round, hands in what it came to, and waits until it is closed.
   *
   * @param resumed - where this machine was stopped in the round
   * @returns `done`, also if the others have not waited; `given up` if nothing came of it, so that the state
   * is of no use; `stopped` if the signal has aborted
   */
  async train(
    round: Round,
    resumed: Snapshot | undefined,
  ): Promise<'done' | 'given up' | 'stopped'> {
    const { config, replica, member, signal, now } = this.#joined;
    const { span } = replica;
    const before = resumed?.exchange;
    const began = now();
    const seconds = () => (before?.seconds ?? 0) + (now() - began) / 1000;
    const isOver = this.#overAsker();
    let done = resumed ? resumed.trainSteps - round.trainSteps : 0;
    let lossSum = before?.lossSum ?? 0;
    const progress = (): Progress => ({ done, lossSum, seconds: seconds() });
    let batches = done < span.count ? await this.#draw(round, span, done) : [];
    while (done < span.count) {
      if (signal?.aborted) return this.#stop(round, progress());
      const updating = this.#update(span, done, batches);
      const drawing = done + 1 < span.count ? this.#draw(round, span, done + 1) : [];
      const [metrics, drawn] = await Promise.all([updating, drawing]);
      batches = drawn;
      done++;
      const trainStep = round.trainSteps + done;
      const spike = this.#watch.judge(trainStep, metrics);
      if (spike && (spike.fault !== undefined || this.#mayGiveUp)) {
        return this.#giveUp(round, spike, seconds());
      }
      if (spike) {
        const { loss } = metrics;
        this.#joined.onSpike?.({ trainStep, loss, threshold: spike.threshold! });
      }
      this.#watch.accept(metrics.loss);
      lossSum += metrics.loss;
      const isLast = done === span.count;
      if (isLast || trainStep % config.logEvery === 0) await this.#log(trainStep, metrics);
      if (isOver()) return 'done';
      if (!isLast && trainStep % config.snapshotEvery !== 0) continue;
      const fault = await this.#save(round, progress());
      if (fault) return this.#giveUp(round, fault, seconds());
    }
    const ended = progress();
    const delta = before?.delta ?? (await this.#storeDelta(round, ended));
    const result = { delta, loss: lossSum / done, seconds: ended.seconds };
    await member.handIn(result);
    await member.untilClosed(this.#patience(result.seconds));
    return signal?.aborted ? 'stopped' : 'done';
  }

  /** The last good snapshot of this machine, with the rounds that it has given up since. */
  async lastSnapshot(): Promise<Snapshot> {
    const { folder, config } = this.#joined;
    const saved = await readSnapshot(folder, config);
    const fresh = { trainSteps: 0, weights: new Map(), slots: new Map(), recentLosses: [] };
    return { ...(saved ?? fresh), rollbacks: this.#rollbacks };
  }

  #update(
    { stage, first }: RoundSpan,
    done: number,
    batches: readonly TrainingBatch[],
  ): Promise<UpdateMetrics> {
    const inStage = first + done;
    this.#since.tokens += batches.length * this.#source.rows * this.#source.length;
    return this.#state.update(
      batches,
      this.#optimizerSteps++,
      learningRateAt(stage, inStage),
      loopsAt(stage, inStage, this.#joined.config.seed),
    );
  }

  #draw(round: Round, span: RoundSpan, done: number) {
    const count = accumulateAt(this.#stage, span.first + done);
    return drawUpdate(this.#source, { ...dataOf(round, span, this.#joined.id, done), count });
  }

  async #log(trainStep: number, metrics: UpdateMetrics): Promise<void> {
    const { log, onProgress, totalTrainSteps, now } = this.#joined;
    const record = log.add(recordOf(this.#joined, this.#stage, trainStep, metrics, this.#since));
    onProgress?.(record, totalTrainSteps);
    await log.flush();
    this.#since = { time: now(), tokens: 0 };
  }

  /** Asks in the background, so that a lost connection holds up no train step. */
  #overAsker(): () => boolean {
    const { member, now } = this.#joined;
    let askedAt = now();
    let isOver = false;
    return () => {
      if (now() - askedAt >= ASK_MS) {
        askedAt = now();
        member.isOver().then(
          (answer) => (isOver = answer),
          () => {},
        );
      }
      return isOver;
    };
  }

  /**
   * Makes a delta of what the round came to and stores it.
   *
   * The round itself is saved before: the store may be away for long. A machine that is stopped meanwhile makes
   * the same delta again, from the same residuals; those of the next round are saved when the store has it.
   */
  async #storeDelta(round: Round, ended: Progress): Promise<string> {
    const { replica, outer } = this.#joined;
    const specs = trainedSpecs(this.#stage);
    const { weights: start } = enterStage(this.#stage, replica.state);
    const end = await this.#state.weights();
    const { bytes, residuals } = encodeDelta(outer.deltas, specs, start, end, this.#residuals);
    const delta = await replica.store(bytes);
    this.#residuals = residuals;
    await this.#save(round, { ...ended, delta });
    return delta;
  }

  async #stop(round: Round, progress: Progress): Promise<'stopped'> {
    // What has not begun is in no snapshot: the last one holds all that there is.
    if (progress.done > 0) await this.#save(round, progress);
    return 'stopped';
  }

  /** Saves where this machine is; or says what is not finite. */
  async #save({ trainSteps }: Round, { done, ...progress }: Progress): Promise<Spike | undefined> {
    const { folder, config, log, replica } = this.#joined;
    const [weights, slots] = [await this.#state.weights(), await this.#state.slots()];
    const fault = faultOf(weights);
    if (fault !== undefined) return this.#watch.failed(trainSteps + done, fault);
    for (const [name, values] of this.#residuals) slots.set(`${RESIDUAL}:${name}`, values);
    await log.flush();
    const { round } = replica.state;
    await writeSnapshot(folder, config, {
      trainSteps: trainSteps + done,
      weights,
      slots,
      rollbacks: this.#rollbacks,
      recentLosses: this.#watch.losses,
      exchange: { round, optimizerSteps: this.#optimizerSteps, ...progress },
    });
    return undefined;
  }

  get #mayGiveUp(): boolean {
    return mayGoBack(this.#joined.config, { rollbacks: this.#rollbacks });
  }

  /**
   * Leaves the round to the others, and goes on from its end.
   *
   * @throws ConfigError if this machine may not do so again
   */
  async #giveUp(
    { trainSteps }: Round,
    { fault, ...spike }: Spike,
    seconds: number,
  ): Promise<'given up'> {
    const { log, member, onRollback } = this.#joined;
    if (!this.#mayGiveUp) throw diverged(fault!, spike.trainStep);
    const rollback: Rollback = { ...spike, backTo: trainSteps };
    this.#rollbacks = [...this.#rollbacks, rollback];
    log.goBack(rollback);
    onRollback?.(rollback);
    await member.handIn({ passed: fault ?? `a loss of ${spike.loss} is a spike` });
    await member.untilClosed(this.#patience(seconds));
    return 'given up';
  }

  #patience(seconds: number): number {
    const { patience, silence } = this.#joined.outer;
    return Math.max(silence, patience * seconds);
  }
}

/** What deltas of 8 bits are to make up for, at the beginning of a stage. */
function residualsOf(
  stage: Stage,
  { deltas }: OuterSettings,
  slots: ReadonlyMap<string, Float32Array>,
): ReadonlyMap<string, Float32Array> {
  if (deltas === 'f32') return new Map();
  return new Map(
    trainedSpecs(stage).map(({ hfName, shape }) => [
      hfName,
      slots.get(`${RESIDUAL}:${hfName}`) ??
        new Float32Array(shape.reduce((product, length) => product * length, 1)),
    ]),
  );
}
