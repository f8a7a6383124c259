/**
 * The engine: a loaded model that continues sequences of token ids, each token at its own depth.
 *
 * Token ids only; text is the business of loop-lm.ts. All requests share one cache and one loop, in
 * which they join and leave at any time: whoever calls `generate` while another call is under way
 * shares its steps.
 */
import { DisposedError } from '../errors.js';
import type { LoopLMConfig, ModelWeights, WeightSource } from '../model/index.js';
import { hasExitGate, resolveNumLoops } from '../model/index.js';
import type { Device, ResidentWeights } from '../runtime/index.js';
import { abortable } from '../util/abortable.js';
import type { StepReport } from './engine-loop.js';
import { EngineLoop } from './engine-loop.js';
import { EventQueue } from './event-queue.js';
import type { EngineEvent, GenerationRequest } from './request.js';
import { checkRequests } from './request.js';
import type { CompileWatch } from './runner/compile.js';
import { engineWeights } from './runner/engine-weights.js';
import type { KvOptions } from './runner/model-runner.js';
import { ModelRunner } from './runner/model-runner.js';
import type { SchedulerLimits } from './scheduler/scheduler.js';
import { DEFAULT_LIMITS } from './scheduler/scheduler.js';
import { AdaptiveDrafts } from './speculation/speculation.js';
import type { EventSink } from './sequence.js';
import { Sequence } from './sequence.js';
import type { Trace, TracedPrompt, TraceOptions } from './trace.js';
import { parseTraceOptions, traceLoops, tracePieces } from './trace.js';

/** What an engine is made of. */
export interface EngineOptions extends KvOptions, CompileWatch {
  readonly device: Device;
  readonly config: LoopLMConfig;
  /**
   * Arrays in memory, weights in a file, or buffers of the device. Buffers may change while the engine
   * lives: its next step reads them as they are then, and what sequences under way have computed before
   * is computed again.
   */
  readonly weights: ModelWeights | WeightSource | ResidentWeights;
  /** How much runs at a time. */
  readonly limits?: Partial<SchedulerLimits> | undefined;
}

/** What an engine is doing, and has done. */
export interface EngineStats {
  /** Requests that have begun, those included whose readers are behind. */
  readonly numRunning: number;
  readonly numWaiting: number;
  /** Pages of keys and values in use. */
  readonly numPagesUsed: number;
  /** Pages there may be; infinite without a limit. */
  readonly maxPages: number;
  /** How often a sequence gave its memory to others and was computed again. */
  readonly numPreemptions: number;
  /** (token, loop) pairs computed. */
  readonly numExecuted: number;
  /** Prompt tokens of the requests that have ended, and those of them that were taken over. */
  readonly numPromptTokens: number;
  readonly numCachedTokens: number;
  /** Updates behind the weights; 0 for weights that do not change. */
  readonly weightsVersion: number;
  readonly isPaused: boolean;
}

/** Events that a reader may leave unread before its sequence rests. */
const MAX_UNREAD = 2;

export class Engine {
  readonly config: LoopLMConfig;
  readonly #runner: ModelRunner;
  readonly #loop: EngineLoop;
  readonly #drafts = new AdaptiveDrafts();
  #isDisposed = false;

  private constructor(runner: ModelRunner, limits: SchedulerLimits) {
    this.config = runner.config;
    this.#runner = runner;
    this.#loop = new EngineLoop(runner, limits, this.#drafts.cost);
  }

  /**
   * Compiles a model. The device is borrowed: the caller disposes it after the engine.
   *
   * @throws the signal's reason when it aborts
   */
  static async create(options: EngineOptions): Promise<Engine> {
    const { device, config, weights, limits, ...rest } = options;
    const runner = await ModelRunner.create(
      device,
      config,
      engineWeights(weights, device, config),
      rest,
    );
    return new Engine(runner, { ...DEFAULT_LIMITS, ...limits });
  }

  /** (token, loop) pairs computed since the engine was made. */
  get numExecuted(): number {
    return this.#runner.numExecuted;
  }

  /** Pages of keys and values in use. */
  get numPagesUsed(): number {
    return this.#runner.pages.numUsed;
  }

  /** Hidden states in use, but for those that are kept for prompts to come. */
  get numStatesUsed(): number {
    return this.#runner.states.numUsed - this.#runner.prefixes.numStates;
  }

  /** How often a sequence gave its memory to others and was computed again. */
  get numPreemptions(): number {
    return this.#loop.numPreemptions;
  }

  get stats(): EngineStats {
    const { numRunning, numWaiting, numPromptTokens, numCachedTokens, isPaused } = this.#loop;
    return {
      numRunning,
      numWaiting,
      numPagesUsed: this.numPagesUsed,
      maxPages: this.#runner.pages.maxPages,
      numPreemptions: this.numPreemptions,
      numExecuted: this.numExecuted,
      numPromptTokens,
      numCachedTokens,
      weightsVersion: this.#runner.weightsVersion,
      isPaused,
    };
  }

  /** Calls a listener after every step, until what is returned is called. */
  onStep(listener: (report: StepReport) => void): () => void {
    return this.#loop.onStep(listener);
  }

  /** Runs nothing more, so that requests stay where they are; returns once nothing runs. */
  async pause(): Promise<void> {
    await this.#loop.pause();
  }

  /** Goes on after `pause`. */
  resume(): void {
    this.#loop.resume();
  }

  /** Forgets what earlier prompts have left for those that begin alike. */
  clearPrefixes(): void {
    this.#runner.prefixes.clear();
  }

  /** What `generate` would refuse is thrown now. @throws LoopLMError */
  check(requests: readonly GenerationRequest[]): void {
    this.#checkAlive();
    checkRequests(this.config, requests);
  }

  /**
   * Continues sequences. Events of different sequences interleave; each sequence ends with exactly
   * one finish event. A request that fails ends alone: the others go on, and what it failed with is
   * thrown when they have ended. Leaving the loop early ends all of them and frees their memory.
   * Sequences rest while their events are not read.
   *
   * @throws LoopLMError, before anything is computed, if a request cannot be served
   */
  async *generate(requests: readonly GenerationRequest[]): AsyncGenerator<EngineEvent> {
    this.check(requests);
    const queue = new EventQueue(requests.length, this.#loop.wake);
    const sequences = requests.map((request, index) => this.#sequence(request, index, queue));
    for (const sequence of sequences) this.#loop.add(sequence);
    try {
      yield* queue.read();
    } finally {
      for (const sequence of sequences) this.#loop.cancel(sequence);
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
   * and their memory is freed at the end.
   */
  async *tracePieces(
    prompts: readonly TracedPrompt[],
    options: TraceOptions = {},
  ): AsyncGenerator<Trace> {
    this.#checkAlive();
    yield* tracePieces(this.#runner, prompts, parseTraceOptions(options));
  }

  /** Ends all requests and frees the programs. Later calls throw `DisposedError`. */
  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    await this.#loop.stop(new DisposedError('The engine'));
    await this.#runner.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #sequence(request: GenerationRequest, requestIndex: number, queue: EventQueue): Sequence {
    const sink: EventSink = {
      get isOpen() {
        return queue.unread(requestIndex) < MAX_UNREAD;
      },
      push: (event) => queue.push(event),
      fail: (error) => queue.fail(error),
    };
    const numLoops = resolveNumLoops(this.config, request.numLoops);
    return new Sequence(request, requestIndex, numLoops, sink, {
      pages: this.#runner.pages,
      states: this.#runner.states,
      prefixes: this.#runner.prefixes,
      maxPositions: this.config.maxPositionEmbeddings,
      hasExitGate: hasExitGate(this.config),
      drafts: this.#drafts,
    });
  }

  #checkAlive(): void {
    if (this.#isDisposed) throw new DisposedError('The engine');
  }
}
