/**
 * One request under way: its tokens, how deep they have gone, where their states and keys lie, and
 * what has been decided.
 *
 * Tokens that have not run all loops and may still be asked to keep their state: they are the
 * sequence's *frontier*. Under the `per-loop` KV policy a later token that goes deeper takes them
 * along (deferred loops), which makes early exit exact.
 */
import type { PagePool } from './cache/page-pool.js';
import { SequencePages } from './cache/sequence-pages.js';
import { ExitTracker } from './exit-policy.js';
import type { KvPolicyRules } from './kv-policy.js';
import { KV_POLICY_RULES } from './kv-policy.js';
import type { FinishEvent, GenerationRequest, TokenEvent } from './request.js';
import { prefillOf } from './request.js';
import type { FinishReason, RolloutRecord } from './rollout.js';
import { meanDepthOf } from './rollout.js';
import type { Readout } from './runner/model-ends.js';
import type { StepRow } from './runner/model-runner.js';
import type { StateSlots } from './runner/state-slots.js';
import { sampleToken } from './sampler.js';
import type { Work } from './scheduler/progress.js';
import { Progress } from './scheduler/progress.js';
import type { Schedulable } from './scheduler/scheduler.js';

/** What the sequences of an engine share. */
export interface SequenceResources {
  readonly pages: PagePool;
  readonly states: StateSlots;
  readonly maxPositions: number;
  readonly hasExitGate: boolean;
}

/** What is known of the token whose successor is being decided. */
interface Decision {
  readonly tracker: ExitTracker;
  hasExited: boolean;
  /** Of every loop that was shown. */
  readonly gateLogits: number[];
  /** Of the loops that were read out, by loop index. */
  readonly readouts: (Readout | undefined)[];
}

/** Where events of a sequence go. */
export interface EventSink {
  /** Whether the reader has taken what there was, but for a token. */
  readonly isOpen: boolean;
  push(event: TokenEvent | FinishEvent): void;
  fail(error: unknown): void;
}

export class Sequence implements Schedulable {
  readonly request: GenerationRequest;
  readonly requestIndex: number;
  readonly priority: number;
  readonly sink: EventSink;
  readonly numLoops: number;
  readonly #rules: KvPolicyRules;
  readonly #progress: Progress;
  readonly #pages: SequencePages;
  readonly #resources: SequenceResources;
  readonly #ids: number[];
  /** Where the state of each position lies, while a loop may still ask for it. */
  readonly #states = new Map<number, number>();
  /** Places whose keys and values go to others before its next loop. */
  #copies: (readonly [number, number])[] = [];
  readonly #seenIds: Set<number>;
  readonly #tokenIds: number[] = [];
  readonly #exitDepths: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #loopLogprobs: number[][] = [];
  readonly #gateLogits: number[][] = [];
  /** By token, of the weights it was drawn with. */
  readonly #weightsVersions: number[] = [];
  #weightsVersion = 0;
  #decision: Decision;
  #numExecuted = 0;

  constructor(
    request: GenerationRequest,
    requestIndex: number,
    numLoops: number,
    sink: EventSink,
    resources: SequenceResources,
  ) {
    const { promptIds, kvPolicy = 'per-loop', priority = 0 } = request;
    this.request = request;
    this.requestIndex = requestIndex;
    this.priority = priority;
    this.sink = sink;
    this.numLoops = numLoops;
    this.#rules = KV_POLICY_RULES[kvPolicy];
    const { defersLoops } = this.#rules;
    const [length, fullPrefill] = [promptIds.length, prefillOf(request) === 'full'];
    this.#progress = new Progress({ length, numLoops, defersLoops, fullPrefill });
    this.#pages = new SequencePages(resources.pages, numLoops);
    this.#resources = resources;
    this.#ids = [...promptIds];
    this.#seenIds = new Set(promptIds);
    this.#decision = this.#startDecision();
  }

  get isReady(): boolean {
    return this.sink.isOpen;
  }

  get isAborted(): boolean {
    return this.request.signal?.aborted ?? false;
  }

  nextWork(): Work | undefined {
    return this.#progress.next();
  }

  pagesFor(work: Work): number {
    return this.#pages.lacking(this.#planesOf(work), work.first + work.count);
  }

  reserve(work: Work): void {
    this.#pages.reserve(this.#planesOf(work), work.first + work.count);
  }

  preempt(): void {
    this.release();
    this.#progress.reset();
  }

  /** Goes on with weights of a version: what others have computed is dropped, but for the tokens. */
  useWeights(version: number): void {
    if (version === this.#weightsVersion) return;
    this.#weightsVersion = version;
    this.preempt();
    this.#decision = this.#startDecision();
  }

  /** Gives up pages and states. */
  release(): void {
    this.#pages.release();
    this.#resources.states.give([...this.#states.values()]);
    this.#states.clear();
    this.#copies = [];
  }

  /** Places whose keys and values go to others before its rows run, `[from, to]`, in every layer. */
  takeCopies(): readonly (readonly [number, number])[] {
    const copies = this.#copies;
    this.#copies = [];
    return copies;
  }

  /** The rows of a step that run a piece of work. */
  rows({ loopIndex, first, count }: Work): StepRow[] {
    const plane = this.#plane(loopIndex);
    return Array.from({ length: count }, (_, index): StepRow => {
      const position = first + index;
      if (loopIndex === 0) this.#states.set(position, this.#resources.states.take());
      return {
        state: this.#states.get(position)!,
        ...(loopIndex === 0 && { tokenId: this.#ids[position]! }),
        position,
        pages: this.#pages.table(plane),
        slot: this.#pages.slot(plane, position),
        isPrompt: position < this.request.promptIds.length,
      };
    });
  }

  /** Whether the last row of a piece of work is the newest token's, in a loop not yet shown to its policy. */
  isDecidedBy({ loopIndex, first, count }: Work): boolean {
    const isNewest = first + count === this.#progress.length;
    return isNewest && loopIndex === this.#decision.gateLogits.length;
  }

  /** What must be known of a loop before the policy is asked. */
  needs({ loopIndex }: Work): { readonly logits: boolean; readonly hidden: boolean } {
    const { hasExited } = this.#decision;
    const { exitPolicy, record = false } = this.request;
    // The last loop is always an exit: its readout is wanted for certain.
    const isLast = loopIndex === this.numLoops - 1 && !hasExited;
    return {
      logits: record || isLast || (exitPolicy.needs.logits && !hasExited),
      hidden: exitPolicy.needs.hidden && !hasExited,
    };
  }

  /**
   * Shows the policy a loop of the newest token.
   *
   * @returns whether the token exits here and its readout is still wanted
   */
  observe(gateLogit: number, readout?: Readout, hidden?: Float32Array): boolean {
    const decision = this.#decision;
    const loopIndex = decision.gateLogits.length;
    decision.gateLogits.push(gateLogit);
    decision.readouts[loopIndex] = readout;
    if (decision.hasExited) return false;
    decision.hasExited = decision.tracker.observe({
      gateLogit,
      ...(hidden && { hidden }),
      ...(readout && { logits: readout.logits }),
    });
    return decision.hasExited && readout === undefined;
  }

  /** Where the state of the newest token lies. */
  get newestState(): number {
    return this.#states.get(this.#progress.length - 1)!;
  }

  /** The readout that `observe` asked for. */
  readOut(readout: Readout): void {
    this.#decision.readouts[this.#decision.tracker.depth - 1] = readout;
  }

  /** Notes that a piece of work was run and observed. */
  advance(work: Work): void {
    const progress = this.#progress;
    const wasPrefilling = progress.isPrefilling;
    this.#numExecuted += work.count;
    progress.advance(work);
    if (!wasPrefilling) this.#leave(work);
    if (wasPrefilling && !progress.isPrefilling && this.#rules.keepsLastPlane) {
      this.#pages.keepOnly(this.numLoops - 1);
    }
    this.#dropStates();
  }

  /** Whether the newest token has been decided and its successor can be drawn. */
  get hasDecided(): boolean {
    return this.#decision.hasExited && !this.#progress.isPrefilling;
  }

  /**
   * Draws the next token and tells the reader.
   *
   * @returns why the sequence ends with it, if it does
   */
  emit(): FinishReason | undefined {
    const event = this.#nextToken();
    this.sink.push(event);
    const reason = this.#reasonToFinish(event.tokenId);
    if (reason) return reason;
    this.#ids.push(event.tokenId);
    this.#progress.append();
    this.#decision = this.#startDecision();
    return undefined;
  }

  /** The finish event. */
  finish(finishReason: FinishReason): FinishEvent {
    return {
      kind: 'finish',
      requestIndex: this.requestIndex,
      finishReason,
      executedLoops: this.#numExecuted,
      fullDepthLoops: this.#ids.length * this.numLoops,
      ...(this.request.record && { rollout: this.#rollout(finishReason) }),
    };
  }

  #startDecision(): Decision {
    const { exitPolicy, sampling } = this.request;
    const tokenIndex = this.#tokenIds.length;
    const context = { numLoops: this.numLoops, seed: sampling.seed, tokenIndex };
    const tracker = new ExitTracker(exitPolicy, context);
    return { tracker, hasExited: false, gateLogits: [], readouts: [] };
  }

  #plane(loopIndex: number): number {
    return this.#rules.keepsLastPlane && !this.#progress.isPrefilling ? 0 : loopIndex;
  }

  /** Planes that must have room for the rows of a piece of work. */
  #planesOf({ loopIndex }: Work): readonly number[] {
    if (!this.#rules.fillsDeeperPlanes) return [this.#plane(loopIndex)];
    return Array.from({ length: this.numLoops - loopIndex }, (_, index) => loopIndex + index);
  }

  /** Lets a token without deferred loops go once it has run as deep as it exits. */
  #leave({ loopIndex, first }: Work): void {
    if (this.#rules.defersLoops) return;
    const isNewest = first === this.#progress.length - 1;
    const exited = isNewest
      ? this.#decision.hasExited
      : loopIndex + 1 === this.#exitDepths[first - this.request.promptIds.length + 1];
    if (!exited) return;
    this.#progress.leave(first);
    if (!this.#rules.fillsDeeperPlanes) return;
    const from = this.#pages.slot(loopIndex, first);
    for (let plane = loopIndex + 1; plane < this.numLoops; plane++) {
      this.#copies.push([from, this.#pages.slot(plane, first)]);
    }
  }

  /** Lets go of states that no later loop can ask for; the newest token's goes after its readout. */
  #dropStates(): void {
    const dropped = [...this.#states].filter(([position]) => position < this.#progress.numDone);
    this.#resources.states.give(dropped.map(([, state]) => state));
    for (const [position] of dropped) this.#states.delete(position);
  }

  #nextToken(): TokenEvent {
    const { request, requestIndex } = this;
    const { tracker, readouts, gateLogits } = this.#decision;
    const tokenIndex = this.#tokenIds.length;
    const exitDepth = tracker.depth;
    const readout = readouts[exitDepth - 1]!;
    const sampledId = sampleToken(readout.logits, request.sampling, this.#seenIds, tokenIndex);
    const tokenId = request.forcedIds?.[tokenIndex] ?? sampledId;
    const logprob = logprobOf(readout, tokenId);
    this.#seenIds.add(tokenId);
    this.#tokenIds.push(tokenId);
    this.#exitDepths.push(exitDepth);
    this.#logprobs.push(logprob);
    this.#weightsVersions.push(this.#weightsVersion);
    if (request.record) {
      this.#loopLogprobs.push(readouts.map((row) => logprobOf(row!, tokenId)));
      this.#gateLogits.push(gateLogits);
    }
    return { kind: 'token', requestIndex, tokenIndex, tokenId, sampledId, exitDepth, logprob };
  }

  #reasonToFinish(tokenId: number): FinishReason | undefined {
    const { stopIds, maxNewTokens } = this.request;
    if (stopIds?.includes(tokenId)) return 'stop-id';
    if (this.#tokenIds.length >= maxNewTokens) return 'max-new-tokens';
    return this.#ids.length >= this.#resources.maxPositions ? 'context-limit' : undefined;
  }

  #rollout(finishReason: FinishReason): RolloutRecord {
    const { promptIds, sampling, exitPolicy, kvPolicy } = this.request;
    const { seed, ...rest } = sampling;
    const weightsVersions = this.#weightsVersions;
    const [weightsVersion = this.#weightsVersion] = weightsVersions;
    return {
      promptIds: [...promptIds],
      tokenIds: this.#tokenIds,
      exitDepths: this.#exitDepths,
      logprobs: this.#logprobs,
      loopLogprobs: this.#loopLogprobs,
      ...(this.#resources.hasExitGate && { gateLogits: this.#gateLogits }),
      weightsVersion,
      ...(weightsVersions.some((version) => version !== weightsVersion) && { weightsVersions }),
      exitPolicy: exitPolicy.name,
      kvPolicy: kvPolicy ?? 'per-loop',
      prefill: prefillOf(this.request),
      sampling: rest,
      seed,
      numLoops: this.numLoops,
      meanDepth: meanDepthOf(this.#exitDepths),
      finishReason,
    };
  }
}

/** Log-probability of a token, at most 0: no temperature, no filters. */
function logprobOf({ logits, logSumExp }: Readout, tokenId: number): number {
  return Math.min(0, logits[tokenId]! - logSumExp);
}
