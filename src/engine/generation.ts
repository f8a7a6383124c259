/**
 * One run of a fixed batch of sequences, from prefill to the last token.
 *
 * All sequences go through the loops of their current token together. After each loop the exit
 * policy of each sequence decides whether its token stops there; loops of tokens that stopped are
 * not run. Under `per-loop` the tokens that stopped earlier in a sequence come along when a later
 * one goes deeper than they did.
 */
import { hasExitGate, resolveNumLoops } from '../model/index.js';
import { ExitTracker } from './exit-policy.js';
import type { KvPolicyRules } from './kv-policy.js';
import { KV_POLICY_RULES } from './kv-policy.js';
import type {
  EngineEvent,
  FinishEvent,
  GenerationRequest,
  RunOptions,
  TokenEvent,
} from './request.js';
import type { FinishReason, RolloutRecord } from './rollout.js';
import { meanDepthOf } from './rollout.js';
import type { BatchEntry, CachedRun, Readout, Runner } from './runner.js';
import { MAX_BATCH_TOKENS } from './runner.js';
import { sampleToken } from './sampler.js';
import type { SequenceToken } from './sequence.js';
import { finishToken, Sequence } from './sequence.js';

/** What is known of the token whose successor is being decided. */
interface Decision {
  readonly tracker: ExitTracker;
  hasExited: boolean;
  /** Of every executed loop; minus infinity where the model has no exit gate. */
  readonly gateLogits: number[];
  /** Of the loops that were read out, by loop index. */
  readonly readouts: (Readout | undefined)[];
}

/** A request under way. */
class RequestState {
  readonly sequence = new Sequence();
  readonly request: GenerationRequest;
  readonly requestIndex: number;
  readonly seenIds: Set<number>;
  /** The newest token of the sequence: the one whose readout gives the next. */
  current: SequenceToken | undefined;
  decision: Decision | undefined;
  finishReason: FinishReason | undefined;
  readonly tokenIds: number[] = [];
  readonly exitDepths: number[] = [];
  readonly logprobs: number[] = [];
  readonly loopLogprobs: number[][] = [];
  readonly gateLogits: number[][] = [];

  constructor(request: GenerationRequest, requestIndex: number) {
    this.request = request;
    this.requestIndex = requestIndex;
    this.seenIds = new Set(request.promptIds);
  }

  startDecision(numLoops: number): void {
    const { exitPolicy, sampling } = this.request;
    const context = { numLoops, seed: sampling.seed, tokenIndex: this.tokenIds.length };
    const tracker = new ExitTracker(exitPolicy, context);
    this.decision = { tracker, hasExited: false, gateLogits: [], readouts: [] };
  }
}

export class Generation {
  readonly #runner: Runner;
  readonly #cache: CachedRun;
  readonly #rules: KvPolicyRules;
  readonly #options: RunOptions;
  readonly #numLoops: number;
  readonly #all: readonly RequestState[];

  constructor(runner: Runner, requests: readonly GenerationRequest[], options: RunOptions) {
    this.#runner = runner;
    this.#rules = KV_POLICY_RULES[options.kvPolicy ?? 'per-loop'];
    this.#options = options;
    this.#numLoops = resolveNumLoops(runner.config, options.numLoops);
    this.#cache = runner.openRun(this.#numLoops);
    this.#all = requests.map((request, index) => new RequestState(request, index));
  }

  /** Runs to the end. Every sequence ends with exactly one finish event. */
  async *events(): AsyncGenerator<EngineEvent> {
    const deferred = this.#options.prefill === 'deferred';
    await this.#enterPrompts();
    if (!deferred && !this.#isAborted) await this.#prefill();
    if (!deferred && !this.#isAborted) yield* this.#emitTokens();
    for (let active = this.#active; active.length > 0; active = this.#active) {
      if (!this.#isAborted) await this.#decode(active);
      if (this.#isAborted) {
        for (const state of active) yield this.#finish(state, 'aborted');
        return;
      }
      yield* this.#emitTokens();
    }
  }

  async dispose(): Promise<void> {
    await this.#cache.dispose();
  }

  get #isAborted(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  get #active(): readonly RequestState[] {
    return this.#all.filter(({ finishReason }) => finishReason === undefined);
  }

  async #enterPrompts(): Promise<void> {
    for (const state of this.#all) {
      for (const id of state.request.promptIds) {
        state.current = state.sequence.append(id, { isPrompt: true });
      }
      await this.#cache.reserve(state.sequence);
      state.startDecision(this.#numLoops);
    }
  }

  /**
   * Runs every loop of every prompt token, one piece of the prompts after the other, and decides
   * where the last token of each prompt exits.
   */
  async #prefill(): Promise<void> {
    const entries = this.#all.flatMap(({ sequence }) =>
      sequence.tokens.map((token) => ({ sequence, token })),
    );
    for (let start = 0; start < entries.length; start += MAX_BATCH_TOKENS) {
      await this.#prefillPiece(entries.slice(start, start + MAX_BATCH_TOKENS));
      if (this.#isAborted) return;
    }
    await this.#rules.afterPrefill(this.#cache, this.#numLoops);
  }

  async #prefillPiece(entries: readonly BatchEntry[]): Promise<void> {
    const rowOf = new Map(entries.map(({ token }, row) => [token, row]));
    const ending = this.#all.filter(({ current }) => rowOf.has(current!));
    for (let loopIndex = 0; loopIndex < this.#numLoops && !this.#isAborted; loopIndex++) {
      const gateLogits = await this.#cache.runLoop({ entries, plane: loopIndex });
      const last = ending.map(({ current }) => gateLogits[rowOf.get(current!)!]!);
      await this.#observe(ending, last, loopIndex);
    }
    for (const { token } of entries) finishToken(token);
  }

  /** Takes the current token of each sequence to its exit. */
  async #decode(active: readonly RequestState[]): Promise<void> {
    for (let loopIndex = 0; loopIndex < this.#numLoops; loopIndex++) {
      const running = active.filter(({ decision }) => !decision!.hasExited);
      if (running.length === 0 || this.#isAborted) return;
      const groups = running.map(({ sequence, current }) =>
        (this.#rules.defersLoops ? sequence.waitingAt(loopIndex, current!) : [current!]).map(
          (token) => ({ sequence, token }),
        ),
      );
      const run = { entries: groups.flat(), plane: this.#rules.plane(loopIndex) };
      const gateLogits = await this.#cache.runLoop(run);
      let end = 0;
      const last = groups.map((group) => {
        end += group.length;
        return gateLogits[end - 1]!;
      });
      await this.#observe(running, last, loopIndex);
      await this.#leave(
        running,
        run.entries.map(({ token }) => token),
      );
    }
  }

  /** Shows a loop's outcome to the exit policies; reads out where a policy or the result needs it. */
  async #observe(
    states: readonly RequestState[],
    gateLogits: readonly number[],
    loopIndex: number,
  ): Promise<void> {
    const wantsAll = this.#options.record ?? false;
    const early = states.filter(
      ({ request, decision }) =>
        wantsAll || (request.exitPolicy.needs.logits && !decision!.hasExited),
    );
    await this.#readOut(early, loopIndex);
    const exiting = states.filter((state, index) => {
      const decision = state.decision!;
      const gateLogit = gateLogits[index]!;
      decision.gateLogits.push(gateLogit);
      if (decision.hasExited) return false;
      const logits = decision.readouts[loopIndex]?.logits;
      const hidden = state.current!.hidden!;
      decision.hasExited = decision.tracker.observe({
        gateLogit,
        hidden,
        ...(logits && { logits }),
      });
      return decision.hasExited;
    });
    await this.#readOut(
      exiting.filter(({ decision }) => decision!.readouts[loopIndex] === undefined),
      loopIndex,
    );
  }

  async #readOut(states: readonly RequestState[], loopIndex: number): Promise<void> {
    if (states.length === 0) return;
    const rows = await this.#runner.readout(states.map(({ current }) => current!.hidden!));
    states.forEach(({ decision }, index) => {
      decision!.readouts[loopIndex] = rows[index];
    });
  }

  /** Lets go of states that no later loop can ask for, and fills the cache where the policy wants. */
  async #leave(running: readonly RequestState[], tokens: readonly SequenceToken[]): Promise<void> {
    for (const token of tokens) {
      if (token.depth === this.#numLoops) finishToken(token);
    }
    const exiting = running.filter(({ decision }) => decision!.hasExited);
    const commands = exiting.flatMap(({ sequence, current }) =>
      this.#rules.onExit(this.#cache, { sequence, token: current! }, this.#numLoops),
    );
    if (commands.length > 0) await this.#runner.device.submit(commands);
    if (this.#rules.defersLoops) return;
    for (const { current } of exiting) finishToken(current!);
  }

  /** Chooses the next token of every sequence that has decided, and makes it the current one. */
  async *#emitTokens(): AsyncGenerator<EngineEvent> {
    for (const state of this.#active) {
      const event = this.#nextToken(state);
      yield event;
      const reason = this.#reasonToFinish(state, event.tokenId);
      if (reason) {
        yield this.#finish(state, reason);
      } else {
        state.current = state.sequence.append(event.tokenId);
        await this.#cache.reserve(state.sequence);
        state.startDecision(this.#numLoops);
      }
    }
  }

  #nextToken(state: RequestState): TokenEvent {
    const { request, decision, requestIndex, seenIds } = state;
    const tokenIndex = state.tokenIds.length;
    const exitDepth = decision!.tracker.depth;
    const readout = decision!.readouts[exitDepth - 1]!;
    const sampledId = sampleToken(readout.logits, request.sampling, seenIds, tokenIndex);
    const tokenId = request.forcedIds?.[tokenIndex] ?? sampledId;
    const logprob = logprobOf(readout, tokenId);
    seenIds.add(tokenId);
    state.tokenIds.push(tokenId);
    state.exitDepths.push(exitDepth);
    state.logprobs.push(logprob);
    if (this.#options.record) {
      state.loopLogprobs.push(decision!.readouts.map((row) => logprobOf(row!, tokenId)));
      state.gateLogits.push(decision!.gateLogits);
    }
    return { kind: 'token', requestIndex, tokenIndex, tokenId, sampledId, exitDepth, logprob };
  }

  #reasonToFinish(state: RequestState, tokenId: number): FinishReason | undefined {
    const { request, sequence, tokenIds } = state;
    if (request.stopIds?.includes(tokenId)) return 'stop-id';
    if (tokenIds.length >= request.maxNewTokens) return 'max-new-tokens';
    const { maxPositionEmbeddings } = this.#runner.config;
    return sequence.tokens.length >= maxPositionEmbeddings ? 'context-limit' : undefined;
  }

  #finish(state: RequestState, finishReason: FinishReason): FinishEvent {
    state.finishReason = finishReason;
    this.#cache.release(state.sequence);
    const { tokens } = state.sequence;
    return {
      kind: 'finish',
      requestIndex: state.requestIndex,
      finishReason,
      executedLoops: tokens.reduce((sum, { depth }) => sum + depth, 0),
      fullDepthLoops: tokens.length * this.#numLoops,
      ...(this.#options.record && { rollout: this.#rollout(state, finishReason) }),
    };
  }

  #rollout(state: RequestState, finishReason: FinishReason): RolloutRecord {
    const { request, tokenIds, exitDepths, logprobs, loopLogprobs, gateLogits } = state;
    const { seed, ...sampling } = request.sampling;
    return {
      promptIds: [...request.promptIds],
      tokenIds,
      exitDepths,
      logprobs,
      loopLogprobs,
      ...(hasExitGate(this.#runner.config) && { gateLogits }),
      exitPolicy: request.exitPolicy.name,
      kvPolicy: this.#options.kvPolicy ?? 'per-loop',
      prefill: this.#options.prefill ?? 'full',
      sampling,
      seed,
      numLoops: this.#numLoops,
      meanDepth: meanDepthOf(exitDepths),
      finishReason,
    };
  }
}

/** Log-probability of a token, at most 0: no temperature, no filters. */
function logprobOf({ logits, logSumExp }: Readout, tokenId: number): number {
  return Math.min(0, logits[tokenId]! - logSumExp);
}
