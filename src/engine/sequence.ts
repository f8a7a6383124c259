/**
 * One request under way: its tokens, how deep they have gone, where their states and keys lie, and
 * what has been decided.
 *
 * Tokens that have not run all loops and may still be asked to keep their state: they are the
 * sequence's *frontier*. Under the `per-loop` KV policy a later token that goes deeper takes them
 * along (deferred loops), which makes early exit exact.
 */
import { Answer } from './answer.js';
import type { PagePool } from './cache/page-pool.js';
import type { PrefixCache } from './cache/prefix-cache.js';
import { PAGE_SIZE } from './cache/sequence-pages.js';
import type { Decision, Loop, Needs } from './decision.js';
import type { KvPolicyRules } from './kv-policy.js';
import { KV_POLICY_RULES } from './kv-policy.js';
import { PendingTokens } from './pending-tokens.js';
import { PromptTokens } from './prompt-tokens.js';
import type { EngineEvent, FinishEvent, GenerationRequest } from './request.js';
import { prefillOf } from './request.js';
import type { FinishReason } from './rollout.js';
import type { StepRow } from './runner/model-runner.js';
import type { StateSlots } from './runner/state-slots.js';
import type { Work } from './scheduler/work.js';
import { endOf, positionsOf } from './scheduler/work.js';
import { Progress } from './scheduler/progress.js';
import type { Schedulable } from './scheduler/scheduler.js';
import type { SlotCopy } from './sequence-memory.js';
import { SequenceMemory } from './sequence-memory.js';
import type { DraftControl } from './speculation/speculation.js';
import { fixedDrafts } from './speculation/speculation.js';

/** What the sequences of an engine share. */
export interface SequenceResources {
  readonly pages: PagePool;
  readonly states: StateSlots;
  readonly prefixes: PrefixCache;
  readonly maxPositions: number;
  readonly hasExitGate: boolean;
  /** Decides for requests that draft as it pays. */
  readonly drafts: DraftControl;
}

/** A token whose next loop is shown to its policy. */
export interface Watched {
  readonly decision: Decision;
  /** Its row among those of the piece of work. */
  readonly offset: number;
  readonly needs: Needs;
}

/** Where events of a sequence go. */
export interface EventSink {
  /** Whether the reader has taken what there was, but for a token. */
  readonly isOpen: boolean;
  push(event: EngineEvent): void;
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
  readonly #memory: SequenceMemory;
  readonly #resources: SequenceResources;
  readonly #answer: Answer;
  readonly #tokens: PendingTokens;
  readonly #drafts: DraftControl;
  /** Of an adaptive prefill, or of a prompt that is scored. */
  readonly #prompt: PromptTokens | undefined;
  #weightsVersion = 0;
  #numExecuted = 0;
  #numCached = 0;

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
    const [length, prefill] = [promptIds.length, prefillOf(request)];
    const stretch = PAGE_SIZE;
    this.#progress = new Progress({ length, numLoops, defersLoops, prefill, stretch });
    this.#memory = new SequenceMemory(resources.pages, resources.states, numLoops);
    this.#resources = resources;
    this.#answer = new Answer(request, requestIndex);
    this.#drafts = draftsOf(request, resources);
    this.#tokens = new PendingTokens(request, numLoops, this.#answer, this.#drafts);
    const isDecided = prefill === 'adaptive' || request.promptLogprobs !== undefined;
    if (isDecided) this.#prompt = new PromptTokens(request, numLoops);
  }

  get isReady(): boolean {
    return this.sink.isOpen;
  }

  get isAborted(): boolean {
    return this.request.signal?.aborted ?? false;
  }

  nextWorks(): readonly Work[] {
    const { isPrefilling, length } = this.#progress;
    // Of the tokens that are still being decided, those at the same depth go on together.
    const works = new Map<number, Work>();
    for (const position of isPrefilling ? [length - 1] : this.#tokens.open) {
      const work = this.#progress.next(position);
      if (work) works.set(work.loopIndex, work);
    }
    return [...works.values()];
  }

  pagesFor(work: Work): number {
    return this.#memory.lacking(this.#planesOf(work), endOf(work));
  }

  reserve(work: Work): void {
    this.#memory.reserve(this.#planesOf(work), endOf(work));
  }

  preempt(): void {
    this.#dropGuesses();
    this.#prompt?.restart();
    this.release();
    this.#progress.reset();
  }

  /** Goes on with weights of a version: what others have computed is dropped, but for the tokens. */
  useWeights(version: number): void {
    if (version === this.#weightsVersion) return;
    this.#weightsVersion = version;
    this.preempt();
    this.#prompt?.clear();
    this.#tokens.restart();
  }

  /** Gives up pages and states. */
  release(): void {
    this.#memory.release();
  }

  adopt(): readonly Work[] {
    for (;;) {
      const works = this.nextWorks();
      const [work] = works;
      if (!work || !this.#adopt(work)) return works;
    }
  }

  sameWork({ loopIndex, first }: Work): string | undefined {
    if (first >= this.#sharedEnd) return undefined;
    const end = first - (first % PAGE_SIZE) + PAGE_SIZE;
    return `${this.#salt} ${loopIndex} ${this.request.promptIds.slice(0, end).join()}`;
  }

  /** Copies that the next step begins with, in every layer. */
  takeCopies(): readonly SlotCopy[] {
    return this.#memory.takeCopies();
  }

  /** The rows of a step that run a piece of work. */
  rows(work: Work): StepRow[] {
    const { loopIndex } = work;
    const plane = this.#plane(loopIndex);
    return positionsOf(work).map((position) => ({
      ...this.#memory.row(position, plane, loopIndex === 0),
      ...(loopIndex === 0 && { tokenId: this.#tokens.idAt(position) }),
      position,
      isPrompt: position < this.request.promptIds.length,
    }));
  }

  /** The tokens whose next loop a piece of work runs, and that are still being decided. */
  watched(work: Work): readonly Watched[] {
    const { loopIndex } = work;
    return positionsOf(work).flatMap((position, offset) => {
      const decision = this.#tokens.decisionAt(position) ?? this.#prompt?.decisionAt(position);
      const isShown =
        decision?.numObserved === loopIndex && (!decision.hasExited || this.#progress.isPrefilling);
      if (!isShown) return [];
      const { logits, hidden } = decision.needs;
      const isRead = logits || this.#tokens.isGuessedAfter(decision);
      return [{ decision, offset, needs: { logits: isRead, hidden } }];
    });
  }

  /**
   * Shows a token's policy its next loop.
   *
   * @returns whether the token exits here and its readout is still wanted
   * @throws what the policy throws, of a token that is certain
   */
  observe(decision: Decision, loop: Loop): boolean {
    try {
      return decision.observe(loop);
    } catch (error) {
      if (!this.#tokens.isGuessed(decision)) throw error;
      this.#tokens.doubt();
      return false;
    }
  }

  /** Notes that a piece of work was run and observed. */
  advance(work: Work): void {
    const progress = this.#progress;
    const wasPrefilling = progress.isPrefilling;
    this.#numExecuted += work.count;
    progress.advance(work);
    this.#memory.endStep();
    this.#publish(work);
    this.#prompt?.note(positionsOf(work));
    if (!wasPrefilling || this.#prompt?.leave) {
      for (const position of positionsOf(work)) this.#leave(position, work.loopIndex);
    }
    if (wasPrefilling && !progress.isPrefilling && this.#rules.keepsLastPlane) {
      this.#memory.keepOnly(this.numLoops - 1);
    }
    // States that no later loop can ask for.
    this.#memory.dropStatesBefore(progress.numDone);
  }

  /**
   * Draws the tokens that are decided and tells the reader; guesses where nothing is.
   *
   * @returns why the sequence ends, if it does
   */
  settle(): FinishReason | undefined {
    if (this.#progress.isPrefilling) return undefined;
    if (this.#tokens.isDoubted) this.#dropGuesses();
    while (this.#tokens.first.hasExited) {
      const event = this.#answer.take(this.#tokens.first, this.#weightsVersion);
      this.#drafts.noteExit(event.exitDepth);
      const promptTokens = this.#prompt?.tell();
      this.sink.push({ ...event, ...(promptTokens && { promptTokens }) });
      const reason = this.#reasonToFinish(event.tokenId);
      if (reason) return reason;
      this.#truncate(this.#tokens.accept(event.tokenId));
    }
    this.#tokens.guess(this.#resources.maxPositions);
    while (this.#progress.length < this.#tokens.length) this.#progress.append();
    return undefined;
  }

  /** The finish event. */
  finish(finishReason: FinishReason): FinishEvent {
    return {
      kind: 'finish',
      requestIndex: this.requestIndex,
      finishReason,
      executedLoops: this.#numExecuted,
      fullDepthLoops: this.#tokens.numCertain * this.numLoops,
      numPromptTokens: this.request.promptIds.length,
      cachedTokens: this.#numCached,
      ...this.#tokens.counts,
      weightsVersion: this.#weightsVersion,
      ...(this.request.record && {
        rollout: this.#answer.rollout({
          finishReason,
          numLoops: this.numLoops,
          hasExitGate: this.#resources.hasExitGate,
          weightsVersion: this.#weightsVersion,
          ...(this.#prompt?.leave && { promptExitDepths: this.#prompt.depths }),
        }),
      }),
    };
  }

  /** Prompt positions that others may have run for it: all but the last. */
  get #sharedEnd(): number {
    const takesOver = this.#sharesPrompt && !this.#prompt?.areScored;
    return takesOver ? this.request.promptIds.length - 1 : 0;
  }

  /** What prompt tokens that exit leave behind is their own. */
  get #sharesPrompt(): boolean {
    return (this.request.cachePrefix ?? true) && !this.#prompt?.leave;
  }

  get #salt(): string {
    return this.request.cacheSalt ?? '';
  }

  /**
   * Takes over rows of its prompt that others have run, all but its last: that one is decided here.
   *
   * @returns whether there were some
   */
  #adopt({ loopIndex, first, count: most }: Work): boolean {
    if (first >= this.#sharedEnd) return false;
    const ids = this.request.promptIds.slice(0, Math.min(this.#sharedEnd, first + most));
    const found = this.#resources.prefixes.find(this.#salt, ids, loopIndex, first);
    // Deeper loops begin with the states.
    const isLast = loopIndex + 1 === this.numLoops;
    const end = isLast ? -1 : found.findIndex(({ plane }) => !plane.states);
    const taken = this.#memory.share(end < 0 ? found : found.slice(0, end), loopIndex);
    const count = taken.reduce((sum, rows) => sum + rows.count, 0);
    if (count === 0) return false;
    this.#progress.advance({ loopIndex, first, count });
    if (loopIndex === 0) this.#numCached += count;
    return true;
  }

  #dropGuesses(): void {
    this.#tokens.dropGuesses();
    this.#truncate(this.#tokens.length);
  }

  /** Only the first positions are left. */
  #truncate(length: number): void {
    if (length === this.#progress.length) return;
    this.#progress.truncate(length);
    this.#memory.dropStatesFrom(length);
  }

  #plane(loopIndex: number): number {
    return this.#rules.keepsLastPlane && !this.#progress.isPrefilling ? 0 : loopIndex;
  }

  /** Planes that must have room for the rows of a piece of work. */
  #planesOf({ loopIndex }: Work): readonly number[] {
    const mayExit = this.#prompt?.leave || !this.#progress.isPrefilling;
    const fillsDeeper = this.#rules.fillsDeeperPlanes && mayExit;
    if (!fillsDeeper) return [this.#plane(loopIndex)];
    return Array.from({ length: this.numLoops - loopIndex }, (_, index) => loopIndex + index);
  }

  /** Keeps what its prompt has left behind, for others. */
  #publish({ loopIndex, first, count }: Work): void {
    const { promptIds } = this.request;
    const end = Math.min(first + count, promptIds.length);
    if (!this.#sharesPrompt || first >= end) return;
    const keepsStates = loopIndex + 1 < this.numLoops;
    const planeOf = (from: number, size: number) =>
      this.#memory.left(loopIndex, from, size, keepsStates);
    this.#resources.prefixes.publish(this.#salt, promptIds, loopIndex, { first, end }, planeOf);
  }

  /** Lets a token without deferred loops go once it has run as deep as it exits. */
  #leave(position: number, loopIndex: number): void {
    if (this.#rules.defersLoops || this.#exitDepthAt(position) !== loopIndex + 1) return;
    this.#progress.leave(position);
    if (!this.#rules.fillsDeeperPlanes) return;
    const deeper = Array.from({ length: this.numLoops }, (_, plane) => plane).slice(loopIndex + 1);
    this.#memory.copyToPlanes(position, loopIndex, deeper);
  }

  /** How deep a token goes; undefined until that is decided. */
  #exitDepthAt(position: number): number | undefined {
    const tokenIndex = position - this.request.promptIds.length + 1;
    if (tokenIndex < 0) return this.#prompt?.depthAt(position);
    if (tokenIndex < this.#answer.length) return this.#answer.exitDepth(tokenIndex);
    const { hasExited, exitDepth } = this.#tokens.first;
    return hasExited ? exitDepth : undefined;
  }

  #reasonToFinish(tokenId: number): FinishReason | undefined {
    if (this.request.stopIds?.includes(tokenId)) return 'stop-id';
    if (this.#answer.isFull()) return 'max-new-tokens';
    const isLast = this.#tokens.numCertain >= this.#resources.maxPositions;
    return isLast ? 'context-limit' : undefined;
  }
}

function draftsOf(
  { speculation = 'off' }: GenerationRequest,
  { drafts }: SequenceResources,
): DraftControl {
  if (speculation === 'auto') return drafts;
  return fixedDrafts(speculation === 'off' ? undefined : speculation);
}
