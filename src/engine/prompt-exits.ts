/**
 * Exits of the tokens of a prompt, all but its last, where an adaptive prefill lets them go.
 */
import { Decision } from './decision.js';
import type { GenerationRequest } from './request.js';

export class PromptExits {
  readonly #request: GenerationRequest;
  readonly #numLoops: number;
  /** Of those that have exited, by position. */
  readonly #depths = new Map<number, number>();
  /** Of those that have begun, by position. */
  readonly #decisions = new Map<number, Decision>();

  constructor(request: GenerationRequest, numLoops: number) {
    this.#request = request;
    this.#numLoops = numLoops;
  }

  /** In the order of positions. */
  get depths(): readonly number[] {
    return [...this.#depths].toSorted(([a], [b]) => a - b).map(([, depth]) => depth);
  }

  /** The decision of a token whose exit is open. */
  decisionAt(position: number): Decision | undefined {
    const tokenIndex = position - this.#request.promptIds.length + 1;
    if (tokenIndex >= 0 || this.#depths.has(position)) return undefined;
    const begun = this.#decisions.get(position);
    if (begun) return begun;
    const decision = new Decision(this.#request, this.#numLoops, tokenIndex);
    this.#decisions.set(position, decision);
    return decision;
  }

  /** How deep a token goes; undefined until that is decided. */
  depthAt(position: number): number | undefined {
    const decision = this.#decisions.get(position);
    if (decision?.hasExited) {
      this.#depths.set(position, decision.exitDepth);
      this.#decisions.delete(position);
    }
    return this.#depths.get(position);
  }

  /** Begins again, with the exits so far. */
  restart(): void {
    this.#decisions.clear();
  }

  /** Forgets all. */
  clear(): void {
    this.#decisions.clear();
    this.#depths.clear();
  }
}
