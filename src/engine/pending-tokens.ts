/**
 * The tokens of a sequence whose successors are being decided: the newest one that is certain, and
 * those guessed after it.
 *
 * A guess falls when the token before it says otherwise in the end, and all that follow it too.
 */
import type { Answer } from './answer.js';
import { Decision } from './decision.js';
import type { GenerationRequest } from './request.js';
import type { Readout } from './runner/model-ends.js';
import type { DraftControl } from './speculation/speculation.js';

export class PendingTokens {
  readonly #request: GenerationRequest;
  readonly #numLoops: number;
  readonly #answer: Answer;
  readonly #drafts: DraftControl;
  readonly #ids: number[];
  /** Each decides the token after it. */
  #decisions: Decision[] = [];
  /** How deep the guess was that made each token after the first; undefined where it was its exit. */
  #guessDepths: (number | undefined)[] = [];
  /** Depth at which tokens are guessed; 0 for not at all. */
  #guessDepth = 0;
  #isDoubted = false;
  #numGuessed = 0;
  #numRight = 0;

  constructor(request: GenerationRequest, numLoops: number, answer: Answer, drafts: DraftControl) {
    this.#request = request;
    this.#numLoops = numLoops;
    this.#answer = answer;
    this.#drafts = drafts;
    this.#ids = [...request.promptIds];
    this.restart();
    this.#chooseDepth();
  }

  /** Tokens of the sequence, guessed ones included. */
  get length(): number {
    return this.#ids.length;
  }

  /** Those that are certain. */
  get numCertain(): number {
    return this.#ids.length - this.#decisions.length + 1;
  }

  /** Tokens that were guessed so far, and how many of the guesses were right. */
  get counts(): { readonly draftedTokens: number; readonly acceptedTokens: number } {
    return { draftedTokens: this.#numGuessed, acceptedTokens: this.#numRight };
  }

  /** Of the newest token that is certain. */
  get first(): Decision {
    return this.#decisions[0]!;
  }

  idAt(position: number): number {
    return this.#ids[position]!;
  }

  decisionAt(position: number): Decision | undefined {
    return this.#decisions[position - this.numCertain + 1];
  }

  /** Positions of the tokens that have not exited. */
  get open(): readonly number[] {
    const first = this.numCertain - 1;
    return this.#decisions.flatMap(({ hasExited }, index) => (hasExited ? [] : [first + index]));
  }

  /** Whether a token falls if one before it says otherwise. */
  isGuessed(decision: Decision): boolean {
    return this.#decisions.indexOf(decision) > 0;
  }

  /** Whether the guesses are to be dropped. */
  get isDoubted(): boolean {
    return this.#isDoubted;
  }

  /** A policy failed on a guess. If it was right, it fails again once the token is certain. */
  doubt(): void {
    this.#isDoubted = true;
  }

  /** Whether the next loop of a token may be the one after which the token after it is guessed. */
  isGuessedAfter(decision: Decision): boolean {
    return decision === this.#decisions.at(-1) && decision.numObserved + 1 === this.#guessDepth;
  }

  /**
   * The token after the first one is certain now: as guessed, or instead of what was guessed.
   *
   * @returns tokens of the sequence, from its first on, that are as they were
   */
  accept(tokenId: number): number {
    this.#decisions.shift();
    const guessDepth = this.#guessDepths.shift();
    const isRight = this.#decisions.length > 0 && this.#ids[this.numCertain - 1] === tokenId;
    if (guessDepth !== undefined) {
      this.#drafts.note(guessDepth, isRight);
      this.#numRight += Number(isRight);
    }
    if (!isRight) {
      this.#ids.length -= this.#decisions.length;
      this.#decisions = [];
      this.#guessDepths = [];
    }
    const kept = this.length;
    if (!isRight) this.#append(tokenId, this.#begin(0));
    this.#chooseDepth();
    return kept;
  }

  /**
   * Guesses the token after the last one, where it is time to.
   *
   * @param mostTokens - that the sequence may have
   */
  guess(mostTokens: number): void {
    if (this.#guessDepth === 0) return;
    const last = this.#decisions.at(-1)!;
    const isGuess = !last.hasExited;
    const depth = isGuess ? this.#guessDepth : last.exitDepth;
    const readout = last.readouts[depth - 1];
    if (last.numObserved !== depth || !readout) return;
    const isFull = this.#answer.isFull(this.#decisions.length) || this.length >= mostTokens;
    const guess = isFull ? undefined : this.#foresee(readout);
    if (!guess) {
      this.#guessDepth = 0;
      return;
    }
    this.#numGuessed += Number(isGuess);
    this.#guessDepths.push(isGuess ? depth : undefined);
    this.#append(guess.tokenId, guess.decision);
  }

  /** Goes back to the tokens that are certain. */
  dropGuesses(): void {
    this.#guessDepth = 0;
    this.#isDoubted = false;
    this.#ids.length = this.numCertain;
    this.#decisions.length = 1;
    this.#guessDepths = [];
  }

  /** Goes back to the tokens that are certain, and decides anew. */
  restart(): void {
    if (this.#decisions.length > 0) this.dropGuesses();
    this.#decisions = [this.#begin(0)];
  }

  #append(tokenId: number, decision: Decision): void {
    this.#ids.push(tokenId);
    this.#decisions.push(decision);
  }

  /** @param numAssumed - tokens that are guessed to be part of the answer */
  #begin(numAssumed: number): Decision {
    return new Decision(this.#request, this.#numLoops, this.#answer.length + numAssumed);
  }

  /**
   * The token that a readout gives, and its decision. Undefined where the text would end with it, and where
   * readout or policy fail: a request fails for tokens that are certain only.
   */
  #foresee(
    readout: Readout,
  ): { readonly tokenId: number; readonly decision: Decision } | undefined {
    try {
      const tokenId = this.#answer.foresee(readout, this.#ids.slice(this.numCertain));
      if (this.#request.stopIds?.includes(tokenId)) return undefined;
      return { tokenId, decision: this.#begin(this.#decisions.length) };
    } catch {
      return undefined;
    }
  }

  #chooseDepth(): void {
    this.#guessDepth = this.#drafts.depth(this.#numLoops) ?? 0;
  }
}
