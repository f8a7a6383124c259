/**
 * The tokens that a request has been given so far, how each was chosen, and the record of it all.
 */
import type { Decision } from './decision.js';
import type { GenerationRequest, TokenEvent } from './request.js';
import { prefillOf } from './request.js';
import type { RolloutRecord } from './rollout.js';
import { meanDepthOf } from './rollout.js';
import type { Readout } from './runner/model-ends.js';
import type { SeenTokens } from './sampler.js';
import { drawToken, sampleToken, samplingLogprobs, tokenDistribution } from './sampler.js';
import type { LoopDetail } from './token-logprobs.js';
import { logprobOf, mostLikely } from './token-logprobs.js';

/** What a record says of its end and of the run. */
export interface AnswerEnd extends Pick<
  RolloutRecord,
  'finishReason' | 'numLoops' | 'weightsVersion'
> {
  readonly hasExitGate: boolean;
  readonly promptExitDepths?: readonly number[];
}

export class Answer {
  readonly #request: GenerationRequest;
  readonly #requestIndex: number;
  /** Each once where every token is drawn against them. */
  readonly #promptIds: Iterable<number>;
  readonly #tokenIds: number[] = [];
  readonly #exitDepths: number[] = [];
  readonly #logprobs: number[] = [];
  readonly #behaviorLogprobs: (number | null)[] = [];
  readonly #loopLogprobs: number[][] = [];
  readonly #gateLogits: number[][] = [];
  readonly #weightsVersions: number[] = [];

  constructor(request: GenerationRequest, requestIndex: number) {
    this.#request = request;
    this.#requestIndex = requestIndex;
    const { promptIds, sampling } = request;
    this.#promptIds = sampling.repetitionPenalty === 1 ? promptIds : new Set(promptIds);
  }

  /** Tokens so far. */
  get length(): number {
    return this.#tokenIds.length;
  }

  /** Whether this is as many as were asked for, `more` of them assumed. */
  isFull(more = 0): boolean {
    return this.length + more >= this.#request.maxNewTokens;
  }

  /** Depth at which a token exited. */
  exitDepth(tokenIndex: number): number | undefined {
    return this.#exitDepths[tokenIndex];
  }

  /**
   * The token that would follow some that are assumed to be right. Its draw is that of its index, so
   * it is what is taken later if the assumption holds and the readout is the one of the exit.
   */
  foresee(readout: Readout, assumed: readonly number[]): number {
    const tokenIndex = this.length + assumed.length;
    const forced = this.#request.forcedIds?.[tokenIndex];
    const seen = this.#seen(assumed);
    return forced ?? sampleToken(readout.logits, this.#request.sampling, seen, tokenIndex);
  }

  /** Draws the next token from the readout of its exit, made with weights of a version. */
  take({ exitDepth, readouts, gateLogits }: Decision, weightsVersion: number): TokenEvent {
    const { sampling, forcedIds, record, topLogprobs, behaviorLogprobs } = this.#request;
    const tokenIndex = this.length;
    const readout = readouts[exitDepth - 1]!;
    const distribution = tokenDistribution(readout.logits, sampling, this.#seen());
    const sampledId = drawToken(distribution, sampling, tokenIndex);
    const tokenId = forcedIds?.[tokenIndex] ?? sampledId;
    const logprob = logprobOf(readout, tokenId);
    const isWanted = record || behaviorLogprobs !== undefined;
    const behavior = isWanted
      ? samplingLogprobs(distribution, tokenId, behaviorLogprobs)
      : undefined;
    if (record) {
      this.#behaviorLogprobs.push(behavior!.logprob);
      this.#loopLogprobs.push(readouts.map((row) => logprobOf(row!, tokenId)));
      this.#gateLogits.push(gateLogits);
    }
    const loops = this.#loopsOf(readouts, gateLogits, tokenId);
    this.#tokenIds.push(tokenId);
    this.#exitDepths.push(exitDepth);
    this.#logprobs.push(logprob);
    this.#weightsVersions.push(weightsVersion);
    const requestIndex = this.#requestIndex;
    const chosen = { requestIndex, tokenIndex, tokenId, sampledId, exitDepth, logprob };
    return {
      kind: 'token',
      ...chosen,
      ...(topLogprobs !== undefined && { topLogprobs: mostLikely(readout, topLogprobs) }),
      ...(behaviorLogprobs !== undefined && { behavior: behavior! }),
      ...(loops && { loops }),
    };
  }

  /** What every executed loop said, if that is wanted. */
  #loopsOf(
    readouts: Decision['readouts'],
    gateLogits: readonly number[],
    tokenId: number,
  ): readonly LoopDetail[] | undefined {
    const { loopLogprobs: count } = this.#request;
    if (count === undefined) return undefined;
    return gateLogits.map((gateLogit, loopIndex) => {
      const readout = readouts[loopIndex]!;
      return {
        ...(gateLogit !== -Infinity && { gateLogit }),
        logprob: logprobOf(readout, tokenId),
        topLogprobs: mostLikely(readout, count),
      };
    });
  }

  /** @param assumed - tokens that follow those of the answer */
  #seen(assumed: readonly number[] = []): SeenTokens {
    const generated = assumed.length > 0 ? [...this.#tokenIds, ...assumed] : this.#tokenIds;
    return { prompt: this.#promptIds, generated };
  }

  /** The record of the whole. */
  rollout(end: AnswerEnd): RolloutRecord {
    const { finishReason, numLoops, hasExitGate } = end;
    const weightsVersions = this.#weightsVersions;
    const [weightsVersion = end.weightsVersion] = weightsVersions;
    const { promptIds, sampling, exitPolicy, kvPolicy } = this.#request;
    const { seed, ...rest } = sampling;
    return {
      promptIds: [...promptIds],
      tokenIds: this.#tokenIds,
      exitDepths: this.#exitDepths,
      ...(end.promptExitDepths && { promptExitDepths: end.promptExitDepths }),
      logprobs: this.#logprobs,
      behaviorLogprobs: this.#behaviorLogprobs,
      loopLogprobs: this.#loopLogprobs,
      ...(hasExitGate && { gateLogits: this.#gateLogits }),
      weightsVersion,
      ...(weightsVersions.some((version) => version !== weightsVersion) && { weightsVersions }),
      exitPolicy: exitPolicy.name,
      kvPolicy: kvPolicy ?? 'per-loop',
      prefill: prefillOf(this.#request),
      sampling: rest,
      seed,
      numLoops,
      meanDepth: meanDepthOf(this.#exitDepths),
      finishReason,
    };
  }
}
