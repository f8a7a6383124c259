/**
 * The state of a training run on a device: weights, the optimizer's slots and gradients as resident
 * buffers, and the programs that change them. Only batches go in and only metrics come out.
 *
 * An update is accumulate, exchange, apply: gradients are added up over the micro-batches, machines
 * that train together make them equal, and the optimizer changes the weights. It knows one update;
 * when to log, evaluate or save is the trainer's business.
 */
import type { TrainingBatch } from '../data/index.js';
import type { Graph } from '../graph/index.js';
import { buildGraph } from '../graph/index.js';
import type { LoopLMConfig, ModelWeights, ParameterSpec, WeightSource } from '../model/index.js';
import { checkParameters, checkWeights } from '../model/index.js';
import type {
  Command,
  Device,
  DeviceBuffer,
  Feed,
  HostTensor,
  Program,
  ResidentWeights,
} from '../runtime/index.js';
import { batchFeeds, countTargets } from './batch-feeds.js';
import { GradientHelper, cutRows, deal, pieceRows } from './lanes.js';
import type { DiagnosticName, MetricName, ObjectiveOptions } from './objective-graph.js';
import { diagnosedOutputs, gradientOutputs, objectiveGraph } from './objective-graph.js';
import type { ExtraInput, Objective } from './objectives/index.js';
import { objectiveOf } from './objectives/index.js';
import type { Optimizer, OptimizerSettings } from './optimizers/index.js';
import type { TokenOutputs } from './token-outputs.js';
import { TOKEN_OUTPUTS, readTokenOutputs, tokenOutputs } from './token-outputs.js';
import { AVERAGE, CompiledUpdate, accumulateOutputs, optimizerOf } from './optimizers/index.js';
import { ownSpecs } from './run-parameters.js';
import type { RunModel } from './run-weights.js';
import { residentSpecs, runWeights } from './run-weights.js';
import { plansWorkspace } from './training-memory.js';

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
  /** How each loop fares, if it was asked for. */
  readonly loops?: LoopDiagnostics | undefined;
}

export interface UpdateOutcome extends UpdateMetrics {
  /** What each token came to by the weights before the update, of each micro-batch, if it was asked for. */
  readonly tokens?: readonly TokenOutputs[] | undefined;
}

/** One number for depth 1..R each; docs/math.md (loop-diagnostics). */
export interface LoopDiagnostics {
  /** L2 norm of the state. */
  readonly stateNorm: readonly number[];
  /** L2 norm of what the loop changed, relative to the state before it. */
  readonly stateChange: readonly number[];
  /** L2 norm of the gradient of the loss by the states of all tokens; absent where only the gate is trained. */
  readonly stateGradNorm?: readonly number[] | undefined;
}

/**
 * Makes the gradients of several machines those of all, in place: `gradients` holds them by the name
 * of the weight. Called once in an update, after they are added up and before they are applied.
 */
export type Exchange = (gradients: {
  readonly device: Device;
  readonly buffers: ReadonlyMap<string, DeviceBuffer>;
  readonly trainStep: number;
}) => Promise<void>;

export interface TrainStateOptions extends Omit<ObjectiveOptions, 'recompute'> {
  readonly device: Device;
  readonly config: LoopLMConfig;
  readonly objective: Objective;
  readonly optimizer: OptimizerSettings | Optimizer;
  readonly recompute: NonNullable<ObjectiveOptions['recompute']>;
  /** Numbers of loops that updates may ask for. Default: that of the model. */
  readonly loopCounts?: readonly number[];
  /** Values of all weights; with `lora`, of the adapter and the exit gate. */
  readonly weights: ModelWeights;
  /** The weights that an adapter is beside, unless they are those of `file`. */
  readonly base?: ModelWeights | undefined;
  /** What the optimizer keeps, by `SLOT:NAME`; fresh when absent. */
  readonly slots?: ReadonlyMap<string, Float32Array>;
  /** Updates that made the weights: their first version. Default 0. */
  readonly trainStepsDone?: number;
  /** Whether metrics say how each loop fares. Default false. */
  readonly diagnoses?: boolean;
  /** Whether updates also tell what each token came to. Default false. */
  readonly tellsTokens?: boolean;
  /** Default: nothing, which is right for one machine. */
  readonly exchange?: Exchange;
  /**
   * Further devices, each with one thread, that compute gradients of some rows. They take part where
   * the rows can be dealt out evenly, tokens are not told, and all weights are the run's own.
   */
  readonly helpers?: readonly Device[];
}

const METRICS = [
  'loss',
  'lossPerLoop',
  'accuracyPerLoop',
  'meanExitPdf',
  'entropy',
] as const satisfies readonly MetricName[];
const DIAGNOSTICS = [
  'stateNorm',
  'stateChange',
  'squaredStateGradient',
] as const satisfies readonly DiagnosticName[];

interface Programs {
  /** By number of loops. */
  readonly gradients: ReadonlyMap<number, Program>;
  readonly accumulate: Program;
  readonly update: CompiledUpdate;
  /** Empty where the device computes all rows itself. */
  readonly helpers: readonly GradientHelper[];
}

/** Weights as an engine takes them: in buffers, or with an adapter that is. */
export type TrainedWeights =
  | ResidentWeights
  | (WeightSource & { readonly resident: ResidentWeights });

export class TrainState {
  readonly #device: Device;
  readonly #config: LoopLMConfig;
  readonly #model: RunModel;
  /** Of which the run has values, and which are in buffers. */
  readonly #own: readonly ParameterSpec[];
  readonly #resident: readonly ParameterSpec[];
  readonly #optimizer: Optimizer;
  readonly #extraInputs: readonly ExtraInput[];
  readonly #exchange: Exchange | undefined;
  readonly #trained: readonly ParameterSpec[];
  readonly #programs: Programs;
  /** Rows for which gradients are computed at a time. */
  readonly #pieceRows: number;
  /** By `param:NAME`, `SLOT:NAME`, `grad:NAME` and `total:NAME`. */
  readonly #buffers: ReadonlyMap<string, DeviceBuffer>;
  #version: number;

  private constructor(
    options: TrainStateOptions,
    optimizer: Optimizer,
    trained: readonly ParameterSpec[],
    programs: Programs,
    buffers: ReadonlyMap<string, DeviceBuffer>,
  ) {
    this.#device = options.device;
    this.#config = options.config;
    this.#model = options;
    this.#own = ownSpecs(options.config, options.lora);
    this.#resident = residentSpecs(options.config, options);
    this.#optimizer = optimizer;
    this.#extraInputs = objectiveOf(options.objective).extraInputs;
    this.#exchange = options.exchange;
    this.#trained = trained;
    this.#programs = programs;
    this.#pieceRows = pieceRowsOf(options) ?? options.rows;
    this.#buffers = buffers;
    this.#version = options.trainStepsDone ?? 0;
  }

  /**
   * Compiles the programs and uploads the weights. The caller disposes the state.
   *
   * @throws CheckpointError if weights are missing, superfluous, misshaped or not finite
   * @throws ConfigError if the objective does not fit the model
   */
  static async create(options: TrainStateOptions): Promise<TrainState> {
    const { device, config, weights, slots, loopCounts = [config.numLoops] } = options;
    const { lora, file, base } = options;
    checkParameters(ownSpecs(config, lora), weights);
    if (lora && !file) checkWeights(config, base ?? new Map());
    const weightsFolder = file && { weightsFolder: file.folder };
    const optimizer = optimizerOf(options.optimizer);
    const piece = pieceRowsOf(options);
    const gradients = new Map<number, Graph>();
    let trained: readonly ParameterSpec[] = [];
    for (const numLoops of loopCounts) {
      const size = { ...options, rows: piece ?? options.rows };
      const graph = objectiveGraph({ ...config, numLoops }, size);
      trained = graph.trained.map(({ spec }) => spec);
      const outputs = {
        ...(options.diagnoses ? diagnosedOutputs(graph) : gradientOutputs(graph)),
        ...(options.tellsTokens && tokenOutputs(graph)),
      };
      gradients.set(numLoops, buildGraph(outputs));
    }
    // Of several programs that run in turn, each would keep memory of its own.
    const keepsWorkspace = loopCounts.length === 1;
    const plans = plansWorkspace(config, { ...options, rows: piece ?? options.rows });
    const compiling = {
      keepsWorkspace,
      plansWorkspace: keepsWorkspace && plans,
      isParallel: piece === undefined,
      ...weightsFolder,
    };
    const gradientPrograms = new Map<number, Program>();
    for (const [numLoops, graph] of gradients) {
      gradientPrograms.set(numLoops, await device.compile(graph, compiling));
    }
    const accumulate = buildGraph(accumulateOutputs());
    const names = trained.map(({ hfName }) => hfName);
    const programs: Programs = {
      gradients: gradientPrograms,
      accumulate: await device.compile(accumulate, { keepsWorkspace: false }),
      update: await CompiledUpdate.compile(device, trained, optimizer),
      helpers: await Promise.all(
        (piece === undefined ? [] : options.helpers!).map((helper) =>
          GradientHelper.create(helper, { gradients, accumulate }, names, {
            keepsWorkspace,
            plansWorkspace: keepsWorkspace && plans,
          }),
        ),
      ),
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
    for (const { hfName, shape } of residentSpecs(config, options)) {
      await place(`param:${hfName}`, shape, weights.get(hfName) ?? base!.get(hfName));
    }
    for (const spec of trained) {
      const { hfName, shape } = spec;
      for (const { name, starts } of optimizer.slots(spec)) {
        const fresh = starts === 'as the weight' ? weights.get(hfName) : undefined;
        await place(`${name}:${hfName}`, shape, slots?.get(`${name}:${hfName}`) ?? fresh);
      }
      await place(`grad:${hfName}`, shape);
      await place(`total:${hfName}`, shape);
    }
    return new TrainState(options, optimizer, trained, programs, buffers);
  }

  /**
   * One optimizer update from the gradients of all `batches` together.
   *
   * @param trainStep - updates since the optimizer's slots were fresh, from 0
   * @param numLoops - one of `loopCounts`; default that of the model
   */
  async update(
    batches: readonly TrainingBatch[],
    trainStep: number,
    learningRate: number,
    numLoops: number = this.#config.numLoops,
  ): Promise<UpdateOutcome> {
    const countedTargets = batches.reduce((sum, batch) => sum + countTargets(batch), 0);
    const inverseCount = countedTargets === 0 ? 0 : 1 / countedTargets;
    const pieces = batches
      .flatMap((batch) => cutRows(batch, this.#pieceRows))
      .map((piece) =>
        batchFeeds(piece, this.#config, inverseCount, { extraInputs: this.#extraInputs }),
      );
    const apply = this.#programs.update.commands({ trainStep, learningRate }, (kind, hfName) =>
      this.#buffer(`${kind}:${hfName}`),
    );
    const isAlone = this.#programs.helpers.length === 0 && !this.#exchange;
    // Alone an update is one submit, so that of several under way each begins where the last one ends.
    const results = isAlone
      ? await this.#submit([...this.#gradientCommands(pieces, numLoops), ...apply])
      : await this.#updateTogether(pieces, numLoops, trainStep, apply);
    const gradNorm = results.find((result) => result['gradNorm'])!['gradNorm']!.data[0] as number;
    const loops = diagnosticsOf(results);
    const tokens = results.flatMap((result) => readTokenOutputs(result) ?? []);
    return {
      ...metricsOf(results),
      gradNorm,
      countedTargets,
      ...(loops && { loops }),
      ...(tokens.length > 0 && { tokens }),
    };
  }

  /** Submits commands that change the weights. */
  #submit(commands: readonly Command[]) {
    const submitted = this.#device.submit(commands);
    this.#version++;
    return submitted;
  }

  async #updateTogether(
    pieces: readonly Piece[],
    numLoops: number,
    trainStep: number,
    apply: readonly Command[],
  ): Promise<Results> {
    const accumulated = await this.#accumulate(pieces, numLoops);
    if (this.#exchange) await this.#exchanged(this.#exchange, trainStep);
    return [...accumulated, ...(await this.#submit(apply))];
  }

  async #exchanged(exchange: Exchange, trainStep: number): Promise<void> {
    const buffers = new Map(
      this.#trained.map(({ hfName }) => [hfName, this.#buffer(`total:${hfName}`)] as const),
    );
    await exchange({ device: this.#device, buffers, trainStep });
  }

  /**
   * The weights where they are, until the state is disposed. An engine on the same device may share
   * them: its next step reads what an update left. The version counts updates.
   */
  get residentWeights(): ResidentWeights {
    return this.#residentOf(() => 'param');
  }

  /**
   * What an engine generates with: the averages of the weights, if the optimizer keeps any; else the weights
   * themselves. An adapter is beside the weights that it is of.
   */
  get trainedWeights(): TrainedWeights {
    const resident = this.#residentOf((hfName) =>
      this.#buffers.has(`${AVERAGE}:${hfName}`) ? AVERAGE : 'param',
    );
    if (!this.#model.lora) return resident;
    return { ...runWeights(this.#config, this.#model, 'generate').source, resident };
  }

  #residentOf(kindOf: (hfName: string) => string): ResidentWeights {
    const buffers = this.#resident.map(
      ({ hfName }) => [hfName, this.#buffer(`${kindOf(hfName)}:${hfName}`)] as const,
    );
    const version = () => this.#version;
    return {
      device: this.#device,
      buffers: new Map(buffers),
      get version() {
        return version();
      },
    };
  }

  /** Copies of all weights by name; with an adapter, of its own and the exit gate. */
  async weights(): Promise<Map<string, Float32Array>> {
    const reading = this.#own.map(
      async ({ hfName }) => [hfName, await this.#read(`param:${hfName}`)] as const,
    );
    return new Map(await Promise.all(reading));
  }

  /**
   * Replaces weights by name, in place: whoever shares them sees it. What the optimizer keeps stays, and
   * so do weights that are not named.
   */
  async setWeights(weights: ModelWeights): Promise<void> {
    for (const [name, data] of weights) {
      const to = this.#buffer(`param:${name}`);
      const from = await this.#device.upload({ dtype: 'f32', dims: to.dims, data: data.slice() });
      const rows = Array.from({ length: to.dims[0]! }, (_, row) => row);
      await this.#submit([{ kind: 'copyRows', from, to, axis: 0, fromRows: rows, toRows: rows }]);
      await this.#device.free(from);
    }
  }

  /** Copies of what the optimizer keeps by `SLOT:NAME`. */
  async slots(): Promise<Map<string, Float32Array>> {
    const values = new Map<string, Float32Array>();
    for (const spec of this.#trained) {
      for (const slot of this.#optimizer.slots(spec)) {
        const name = `${slot.name}:${spec.hfName}`;
        values.set(name, await this.#read(name));
      }
    }
    return values;
  }

  /** Frees the buffers and programs; the device stays. */
  async dispose(): Promise<void> {
    const { gradients, accumulate, update, helpers } = this.#programs;
    for (const helper of helpers) await helper.dispose();
    for (const buffer of this.#buffers.values()) await this.#device.free(buffer);
    for (const program of [...gradients.values(), accumulate]) await this.#device.free(program);
    await update.free(this.#device);
  }

  /** Leaves the sums of the gradients in `total`; returns what was fetched of each piece. */
  async #accumulate(pieces: readonly Piece[], numLoops: number): Promise<Results> {
    const { helpers } = this.#programs;
    const [own, ...others] = deal(pieces, 1 + helpers.length);
    // Weights are asked for before the device has something else to do.
    const helping = helpers.map(async (helper, index) => {
      const weights = await this.weights();
      const tensors = this.#own.map(({ hfName, shape }): [string, HostTensor] => [
        hfName,
        { dtype: 'f32', dims: shape, data: weights.get(hfName)! },
      ]);
      return helper.run({
        weights: Object.fromEntries(tensors),
        pieces: others[index]!,
        numLoops,
        fetch: this.#fetched(numLoops),
      });
    });
    const commands = this.#gradientCommands(own!, numLoops);
    const [mine, ...theirs] = await Promise.all([this.#device.submit(commands), ...helping]);
    for (const { totals } of theirs) {
      const kept = this.#trained.map(({ hfName }) => ({ kept: hfName }));
      await this.#device.submit([{ kind: 'keep', values: totals }, this.#accumulateCommand(kept)]);
    }
    return [...mine, ...theirs.flatMap(({ results }) => results)];
  }

  /** The first piece writes the total; each further one is added to it. */
  #gradientCommands(pieces: readonly Piece[], numLoops: number): readonly Command[] {
    return pieces.flatMap((piece, index) =>
      index === 0
        ? [this.#gradientCommand(piece, numLoops, 'total')]
        : [
            this.#gradientCommand(piece, numLoops, 'grad'),
            this.#accumulateCommand(this.#line('grad')),
          ],
    );
  }

  #gradientCommand(piece: Piece, numLoops: number, target: 'grad' | 'total'): Command {
    const program = this.#programs.gradients.get(numLoops)!;
    const feeds: Record<string, HostTensor | DeviceBuffer> = { ...piece };
    for (const { hfName } of this.#resident) {
      feeds[hfName] = this.#buffer(`param:${hfName}`);
    }
    const store = Object.fromEntries(
      this.#trained.map(({ hfName }) => [`grad:${hfName}`, this.#buffer(`${target}:${hfName}`)]),
    );
    return { kind: 'run', program, feeds, fetch: this.#fetched(numLoops), store };
  }

  #fetched(numLoops: number): readonly string[] {
    const { outputNames } = this.#programs.gradients.get(numLoops)!;
    return [...METRICS, ...DIAGNOSTICS, ...TOKEN_OUTPUTS].filter((name) =>
      outputNames.includes(name),
    );
  }

  #line(kind: string): readonly DeviceBuffer[] {
    return this.#trained.map(({ hfName }) => this.#buffer(`${kind}:${hfName}`));
  }

  /** @param grad - to be added to the total, in the order of the trained parameters */
  #accumulateCommand(grad: readonly Feed[]): Command {
    const total = this.#line('total');
    return {
      kind: 'runElementwise',
      program: this.#programs.accumulate,
      feeds: {},
      lines: { grad, total },
      store: { next: total },
    };
  }

  #buffer(name: string): DeviceBuffer {
    return this.#buffers.get(name)!;
  }

  async #read(name: string): Promise<Float32Array> {
    const { data } = await this.#device.download(this.#buffer(name));
    return data as Float32Array;
  }
}

function pieceRowsOf(options: TrainStateOptions) {
  const { config, helpers = [], tellsTokens, lora } = options;
  return tellsTokens || lora ? undefined : pieceRows(options, 1 + helpers.length, config);
}

/** Inputs of some rows, but the weights. */
type Piece = Readonly<Record<string, HostTensor>>;
type Results = readonly Readonly<Record<string, HostTensor>>[];

function metricsOf(results: Results) {
  const sums = (name: MetricName) => summed(results, name)!;
  return {
    loss: sums('loss')[0]!,
    lossPerLoop: sums('lossPerLoop'),
    accuracyPerLoop: sums('accuracyPerLoop'),
    meanExitPdf: sums('meanExitPdf'),
    entropy: sums('entropy')[0]!,
  };
}

function diagnosticsOf(results: Results): LoopDiagnostics | undefined {
  const stateNorm = summed(results, 'stateNorm');
  const stateChange = summed(results, 'stateChange');
  if (!stateNorm || !stateChange) return undefined;
  const squared = summed(results, 'squaredStateGradient');
  return {
    stateNorm,
    stateChange,
    ...(squared && { stateGradNorm: squared.map((value) => Math.sqrt(value)) }),
  };
}

/** Adds up an output over the commands that fetched it; undefined if none did. */
function summed(
  results: Results,
  name: MetricName | DiagnosticName,
): readonly number[] | undefined {
  const rows = results
    .flatMap((result) => result[name] ?? [])
    .map(({ data }) => [...data].map(Number));
  return rows[0]?.map((_, index) => rows.reduce((sum, row) => sum + row[index]!, 0));
}
