/**
 * The tokens of a prompt, all but its last, where something is decided for each: where an adaptive
 * prefill lets them go, and what was to be expected after them.
 */
import { Decision } from './decision.js';
import type { GenerationRequest } from './request.js';
import { prefillOf } from './request.js';
import type { ScoredToken } from './token-logprobs.js';
import { cooled, logprobOf, mostLikely } from './token-logprobs.js';

export class PromptTokens {
  /** Whether they run no further loop once they have exited. */
  readonly leave: boolean;
  readonly #request: GenerationRequest;
  readonly #numLoops: number;
  /** Of those that have exited, by position. */
  readonly #depths = new Map<number, number>();
  /** Of those that have begun, by position. */
  readonly #decisions = new Map<number, Decision>();
  /** By position of the token that is scored. */
  readonly #scores = new Map<number, ScoredToken>();
  #isTold = false;

  constructor(request: GenerationRequest, numLoops: number) {
    this.#request = request;
    this.#numLoops = numLoops;
    this.leave = prefillOf(request) === 'adaptive';
  }

  /** Whether they are scored. */
  get areScored(): boolean {
    return this.#request.promptLogprobs !== undefined;
  }

  /** Exit depths, in the order of positions. */
  get depths(): readonly number[] {
    return [...this.#depths].toSorted(([a], [b]) => a - b).map(([, depth]) => depth);
  }

  /** The decision of a token whose exit is open. */
  decisionAt(position: number): Decision | undefined {
    const tokenIndex = position - this.#request.promptIds.length + 1;
    if (tokenIndex >= 0 || this.#depths.has(position)) return undefined;
    if (this.#isTold && !this.leave) return undefined;
    const begun = this.#decisions.get(position);
    if (begun) return begun;
    const decision = new Decision(this.#request, this.#numLoops, tokenIndex);
    this.#decisions.set(position, decision);
    return decision;
  }

  /** Takes what a step has decided of some positions; its readouts are not needed any more. */
  note(positions: readonly number[]): void {
    for (const position of positions) {
      const decision = this.#decisions.get(position);
      if (!decision?.hasExited) continue;
      this.#depths.set(position, decision.exitDepth);
      this.#decisions.delete(position);
      if (this.areScored) this.#scores.set(position + 1, this.#score(decision, position + 1));
    }
  }

  /** How deep a token goes; undefined until that is decided. */
  depthAt(position: number): number | undefined {
    return this.#depths.get(position);
  }

  /** The scores of all tokens, the first time that it is called; undefined if they are not wanted. */
  tell(): readonly ScoredToken[] | undefined {
    if (!this.areScored || this.#isTold) return undefined;
    this.#isTold = true;
    return this.#request.promptIds.map((tokenId, position) => {
      return this.#scores.get(position) ?? { tokenId };
    });
  }

  /** Begins again, with what is decided so far. */
  restart(): void {
    this.#decisions.clear();
  }

  /** Forgets all. */
  clear(): void {
    this.#decisions.clear();
    this.#depths.clear();
    this.#scores.clear();
  }

  #score(decision: Decision, position: number): ScoredToken {
    const { promptIds, promptLogprobs: count = 0, promptTemperature = 1 } = this.#request;
    const [tokenId, { exitDepth, readouts }] = [promptIds[position]!, decision];
    const readout = cooled(readouts[exitDepth - 1]!, promptTemperature);
    const topLogprobs = mostLikely(readout, count);
    return { tokenId, exitDepth, logprob: logprobOf(readout, tokenId), topLogprobs };
  }
}
