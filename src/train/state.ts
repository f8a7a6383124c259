/**
 * The state of a training run on a device: weights, moments and gradients as resident buffers, and
 * the three programs that change them. Only batches go in and only metrics come out.
 *
 * It knows one update; when to log, evaluate or save is the trainer's business.
 */
import type { TrainingBatch } from '../data/index.js';
import { buildGraph } from '../graph/index.js';
import type { LoopLMConfig, ModelWeights, ParameterSpec } from '../model/index.js';
import { batchForwardFeeds, checkWeights, parameterSpecs } from '../model/index.js';
import type {
  Command,
  Device,
  DeviceBuffer,
  HostTensor,
  Program,
  ResidentWeights,
} from '../runtime/index.js';
import type { AdamWOptions } from './adamw.js';
import { accumulateOutputs, adamWOutputs, updateScalars } from './adamw.js';
import type { MetricName, Objective, ObjectiveOptions } from './objective.js';
import { gradientOutputs, objectiveGraph } from './objective.js';

/** Means over the counted targets of one update. */
export interface UpdateMetrics {
  readonly loss: number;
  /** Cross-entropy at depth 1..R, in nats. */
  readonly lossPerLoop: readonly number[];
  /** Fraction of counted targets whose top token at depth 1..R is right. */
  readonly accuracyPerLoop: readonly number[];
  /** Exit probability at depth 1..R. */
  readonly meanExitPdf: readonly number[];
  /** Entropy of the exit distribution, in nats. */
  readonly entropy: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradNorm: number;
  readonly countedTargets: number;
}

export interface TrainStateOptions {
  readonly device: Device;
  readonly config: LoopLMConfig;
  readonly rows: number;
  readonly length: number;
  readonly objective: Objective;
  readonly optimizer: AdamWOptions;
  readonly recompute: NonNullable<ObjectiveOptions['recompute']>;
  readonly weights: ModelWeights;
  /** First and second moments by `m:NAME` and `v:NAME`; zero when absent. */
  readonly moments?: ReadonlyMap<string, Float32Array>;
  /** Updates that made the weights: their first version. Default 0. */
  readonly trainStepsDone?: number;
}

const METRICS = [
  'loss',
  'lossPerLoop',
  'accuracyPerLoop',
  'meanExitPdf',
  'entropy',
] as const satisfies readonly MetricName[];

export class TrainState {
  readonly #device: Device;
  readonly #config: LoopLMConfig;
  readonly #optimizer: AdamWOptions;
  readonly #trained: readonly ParameterSpec[];
  readonly #programs: { gradients: Program; update: Program; accumulate: Program };
  /** By `param:NAME`, `m:NAME`, `v:NAME`, `grad:NAME` and `total:NAME`. */
  readonly #buffers: ReadonlyMap<string, DeviceBuffer>;
  readonly #resident: { -readonly [key in keyof ResidentWeights]: ResidentWeights[key] };

  private constructor(
    options: TrainStateOptions,
    trained: readonly ParameterSpec[],
    programs: { gradients: Program; update: Program; accumulate: Program },
    buffers: ReadonlyMap<string, DeviceBuffer>,
  ) {
    this.#device = options.device;
    this.#config = options.config;
    this.#optimizer = options.optimizer;
    this.#trained = trained;
    this.#programs = programs;
    this.#buffers = buffers;
    const weights = parameterSpecs(options.config).map(
      ({ hfName }) => [hfName, buffers.get(`param:${hfName}`)!] as const,
    );
    const { device, trainStepsDone: version = 0 } = options;
    this.#resident = { device, buffers: new Map(weights), version };
  }

  /**
   * Compiles the programs and uploads the weights. The caller disposes the state.
   *
   * @throws CheckpointError if weights are missing, superfluous, misshaped or not finite
   * @throws ConfigError if the objective does not fit the model
   */
  static async create(options: TrainStateOptions): Promise<TrainState> {
    const { device, config, weights, moments } = options;
    checkWeights(config, weights);
    const objective = objectiveGraph(config, options);
    const trained = objective.trained.map(({ spec }) => spec);
    const programs = {
      gradients: await device.compile(buildGraph(gradientOutputs(objective))),
      update: await device.compile(buildGraph(adamWOutputs(trained, options.optimizer))),
      accumulate: await device.compile(buildGraph(accumulateOutputs(trained))),
    };
    const buffers = new Map<string, DeviceBuffer>();
    const place = async (name: string, shape: readonly number[], data?: Float32Array) => {
      buffers.set(
        name,
        data
          ? await device.upload({ dtype: 'f32', dims: shape, data: data.slice() })
          : await device.allocate('f32', shape),
      );
    };
    for (const { hfName, shape } of parameterSpecs(config)) {
      await place(`param:${hfName}`, shape, weights.get(hfName));
    }
    for (const { hfName, shape } of trained) {
      await place(`m:${hfName}`, shape, moments?.get(`m:${hfName}`));
      await place(`v:${hfName}`, shape, moments?.get(`v:${hfName}`));
      await place(`grad:${hfName}`, shape);
      await place(`total:${hfName}`, shape);
    }
    return new TrainState(options, trained, programs, buffers);
  }

  /**
   * One optimizer update from the gradients of all `batches` together.
   *
   * @param trainStep - from 0; decides the bias correction of the moments
   */
  async update(
    batches: readonly TrainingBatch[],
    trainStep: number,
    learningRate: number,
  ): Promise<UpdateMetrics> {
    const countedTargets = batches.reduce((sum, batch) => sum + countTargets(batch), 0);
    const inverseCount = countedTargets === 0 ? 0 : 1 / countedTargets;
    // The first micro-batch writes the total; each further one is added to it.
    const commands = batches.flatMap((batch, microBatch) =>
      microBatch === 0
        ? [this.#gradientCommand(batch, inverseCount, 'total')]
        : [this.#gradientCommand(batch, inverseCount, 'grad'), this.#accumulateCommand()],
    );
    commands.push(this.#updateCommand(trainStep, learningRate));
    const submitted = this.#device.submit(commands);
    this.#resident.version++;
    const results = await submitted;
    const sums = sumMetrics(results);
    return {
      loss: sums('loss')[0]!,
      lossPerLoop: sums('lossPerLoop'),
      accuracyPerLoop: sums('accuracyPerLoop'),
      meanExitPdf: sums('meanExitPdf'),
      entropy: sums('entropy')[0]!,
      gradNorm: results.at(-1)!['gradNorm']!.data[0] as number,
      countedTargets,
    };
  }

  /**
   * The weights where they are, until the state is disposed. An engine on the same device may share
   * them: its next step reads what an update left. The version counts updates.
   */
  get residentWeights(): ResidentWeights {
    return this.#resident;
  }

  /** Copies of all weights by name. */
  async weights(): Promise<Map<string, Float32Array>> {
    return this.#read(parameterSpecs(this.#config), ['param'], () => '');
  }

  /** Copies of the optimizer's moments by `m:NAME` and `v:NAME`. */
  async moments(): Promise<Map<string, Float32Array>> {
    return this.#read(this.#trained, ['m', 'v'], (kind) => `${kind}:`);
  }

  /** Frees the buffers and programs; the device stays. */
  async dispose(): Promise<void> {
    for (const buffer of this.#buffers.values()) await this.#device.free(buffer);
    for (const program of Object.values(this.#programs)) await this.#device.free(program);
  }

  #gradientCommand(batch: TrainingBatch, inverseCount: number, target: 'grad' | 'total'): Command {
    const feeds: Record<string, HostTensor | DeviceBuffer> = batchFeeds(
      batch,
      this.#config,
      inverseCount,
    );
    for (const { hfName } of parameterSpecs(this.#config)) {
      feeds[hfName] = this.#buffer(`param:${hfName}`);
    }
    const store = Object.fromEntries(
      this.#trained.map(({ hfName }) => [`grad:${hfName}`, this.#buffer(`${target}:${hfName}`)]),
    );
    return { kind: 'run', program: this.#programs.gradients, feeds, fetch: METRICS, store };
  }

  #accumulateCommand(): Command {
    const feeds: Record<string, DeviceBuffer> = {};
    const store: Record<string, DeviceBuffer> = {};
    for (const { hfName } of this.#trained) {
      feeds[`grad:${hfName}`] = this.#buffer(`grad:${hfName}`);
      feeds[`total:${hfName}`] = this.#buffer(`total:${hfName}`);
      store[`next:total:${hfName}`] = this.#buffer(`total:${hfName}`);
    }
    return { kind: 'run', program: this.#programs.accumulate, feeds, store };
  }

  #updateCommand(trainStep: number, learningRate: number): Command {
    const scalars = updateScalars(this.#optimizer, trainStep, learningRate);
    const feeds: Record<string, HostTensor | DeviceBuffer> = {};
    for (const [name, value] of Object.entries({ ...scalars })) feeds[name] = scalarTensor(value);
    const store: Record<string, DeviceBuffer> = {};
    for (const { hfName } of this.#trained) {
      feeds[`grad:${hfName}`] = this.#buffer(`total:${hfName}`);
      for (const kind of ['param', 'm', 'v']) {
        feeds[`${kind}:${hfName}`] = this.#buffer(`${kind}:${hfName}`);
        store[`next:${kind}:${hfName}`] = this.#buffer(`${kind}:${hfName}`);
      }
    }
    return { kind: 'run', program: this.#programs.update, feeds, fetch: ['gradNorm'], store };
  }

  #buffer(name: string): DeviceBuffer {
    return this.#buffers.get(name)!;
  }

  async #read(
    specs: readonly ParameterSpec[],
    kinds: readonly string[],
    prefix: (kind: string) => string,
  ): Promise<Map<string, Float32Array>> {
    const values = new Map<string, Float32Array>();
    for (const { hfName } of specs) {
      for (const kind of kinds) {
        const { data } = await this.#device.download(this.#buffer(`${kind}:${hfName}`));
        values.set(`${prefix(kind)}${hfName}`, data as Float32Array);
      }
    }
    return values;
  }
}

/** The batch inputs of an objective graph. Padding and ignored targets pass through as they are. */
export function batchFeeds(
  batch: TrainingBatch,
  config: LoopLMConfig,
  inverseCount: number,
): Record<string, HostTensor> {
  return {
    ...batchForwardFeeds(batch, config),
    targets: { dtype: 'i32', dims: [batch.rows, batch.length], data: batch.targets },
    inverseCount: scalarTensor(inverseCount),
  };
}

/** Number of targets that the loss counts. */
export function countTargets({ targets }: TrainingBatch): number {
  return targets.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0);
}

function scalarTensor(value: number): HostTensor {
  return { dtype: 'f32', dims: [], data: Float32Array.of(value) };
}

/** Adds up a metric over the commands that fetched it. */
function sumMetrics(
  results: readonly Readonly<Record<string, HostTensor>>[],
): (name: MetricName) => readonly number[] {
  return (name) => {
    const rows = results
      .flatMap((result) => result[name] ?? [])
      .map(({ data }) => [...data].map(Number));
    return rows[0]!.map((_, index) => rows.reduce((sum, row) => sum + row[index]!, 0));
  };
}
