/**
 * The engine: a loaded model that continues sequences of token ids, each token at its own depth.
 *
 * Token ids only; text is the business of loop-lm.ts. Every run has its own cache, so runs may
 * overlap.
 */
import { ConfigError, DisposedError, UnsupportedError } from '../errors.js';
import type { GraphWeights, LoopLMConfig, ModelWeights } from '../model/index.js';
import { graphWeights } from '../model/index.js';
import type { Device } from '../runtime/index.js';
import { abortable } from '../util/abortable.js';
import { Generation } from './generation.js';
import type { EngineEvent, GenerationRequest, RunOptions } from './request.js';
import { checkRun } from './request.js';
import type { KvOptions } from './by-layer/runner.js';
import type { CompileWatch } from './compile.js';
import { LayerRunner } from './by-layer/runner.js';
import { LoopRunner } from './by-loop/runner.js';
import type { Runner } from './runner.js';
import type { Trace, TracedPrompt, TraceOptions } from './trace.js';
import { parseTraceOptions, traceLoops, tracePieces } from './trace.js';

/** What an engine is made of. */
export interface EngineOptions extends KvOptions, CompileWatch {
  readonly device: Device;
  readonly config: LoopLMConfig;
  /** Arrays in memory, or weights in a file. */
  readonly weights: ModelWeights | GraphWeights;
  /**
   * How a loop is cut into programs: `by-layer` on the CPU (default there; any mixture of sequences
   * and depths, cost linear in the batch), `by-loop` on GPUs.
   */
  readonly partition?: 'by-layer' | 'by-loop' | undefined;
}

/**
 * How a loop is cut into programs on a kind of device.
 *
 * @throws UnsupportedError if the device cannot run the partition that is asked for
 * @throws ConfigError if the partition does not keep keys and values in the type that is asked for
 */
export function partitionFor(
  kind: Device['kind'],
  { partition, kvDtype }: Pick<EngineOptions, 'partition' | 'kvDtype'>,
): Runner['partition'] {
  if (partition === 'by-layer' && kind !== 'cpu') {
    throw new UnsupportedError(
      `partition is by-layer and device is "${kind}", which runs whole loops. Leave partition out, or use device "cpu".`,
    );
  }
  const chosen = partition ?? (kind === 'cpu' ? 'by-layer' : 'by-loop');
  if (chosen === 'by-layer' || kvDtype === undefined || kvDtype === 'f32') return chosen;
  const remedy = kind === 'cpu' ? 'partition by-layer' : 'device "cpu"';
  throw new ConfigError(
    'kvDtype',
    `kvDtype is ${kvDtype}; the by-loop partition keeps keys and values in f32. Use f32, or ${remedy}.`,
  );
}

export class Engine {
  readonly config: LoopLMConfig;
  readonly #runner: Runner;
  #isDisposed = false;

  private constructor(runner: Runner) {
    this.config = runner.config;
    this.#runner = runner;
  }

  /**
   * Compiles a model. The device is borrowed: the caller disposes it after the engine.
   *
   * @throws LoopLMError as `partitionFor` does; the signal's reason when it aborts
   */
  static async create(options: EngineOptions): Promise<Engine> {
    const { device, config } = options;
    const weights = graphWeights(options.weights);
    if (partitionFor(device.kind, options) === 'by-layer') {
      return new Engine(await LayerRunner.create(device, config, weights, options));
    }
    return new Engine(await LoopRunner.create(device, config, weights, options));
  }

  /** How a loop is cut into programs. */
  get partition(): Runner['partition'] {
    return this.#runner.partition;
  }

  /** (token, loop) pairs computed since the engine was made. */
  get numExecuted(): number {
    return this.#runner.numExecuted;
  }

  /**
   * Continues a batch of sequences. Events of different sequences interleave; each sequence ends
   * with exactly one finish event. Leaving the loop early frees the run's memory.
   *
   * @throws LoopLMError, before anything is computed, if a request cannot be served
   */
  async *generate(
    requests: readonly GenerationRequest[],
    options: RunOptions = {},
  ): AsyncGenerator<EngineEvent> {
    this.#checkAlive();
    checkRun(this.config, requests, options);
    const generation = new Generation(this.#runner, requests, options);
    try {
      yield* generation.events();
    } finally {
      await generation.dispose();
    }
  }

  /**
   * Everything that full depth computes for a prompt: states, gates and logits of every loop.
   *
   * @throws LoopLMError if the prompt or an option is not valid; the signal's reason when it aborts
   */
  async trace(ids: readonly number[], options: TraceOptions = {}): Promise<Trace> {
    this.#checkAlive();
    const parsed = parseTraceOptions(options);
    return abortable(traceLoops(this.#runner, ids, parsed), parsed.signal);
  }

  /**
   * As `trace` at chosen positions of a few prompts, in their order and some at a time, so that the
   * logits of a long text are never held at once. The prompts are computed together, each as if alone,
   * and their cache is freed at the end.
   */
  async *tracePieces(
    prompts: readonly TracedPrompt[],
    options: TraceOptions = {},
  ): AsyncGenerator<Trace> {
    this.#checkAlive();
    yield* tracePieces(this.#runner, prompts, parseTraceOptions(options));
  }

  /** Frees the programs. Later calls throw `DisposedError`. */
  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    await this.#runner.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #checkAlive(): void {
    if (this.#isDisposed) throw new DisposedError('The engine');
  }
}
