/**
 * From the tokens of one sequence to its text: decoded, cut at stop strings, parted into reasoning
 * and answer.
 *
 * The one idea: three streams in a row, each of which holds text back until it is certain, so that
 * nothing is ever shown which a later token would take away. Computes nothing and knows no engine,
 * only its events.
 */
import type { EngineEvent, FinishEvent, TokenEvent } from '../engine/index.js';
import type { DecodeStream, SplitText, TextChannel, Tokenizer } from '../tokenizer/index.js';
import { ReasoningSplitter, THINK_TAGS } from '../tokenizer/index.js';
import { StopStringMatcher } from './stop-strings.js';
import { TOOL_CALL_TAGS } from './tool-calls.js';

/** A new token, with the text that it makes certain. */
export interface TextTokenEvent extends Omit<TokenEvent, 'requestIndex' | 'sampledId'> {
  /** Index into the prompts; 0 for a single one. */
  readonly promptIndex: number;
  /**
   * Well-formed text of one channel, without tags; empty while a character, a tag or a possible stop
   * string is incomplete.
   */
  readonly text: string;
  /** What the text belongs to; `answer` for all of it unless reasoning is split. */
  readonly channel: TextChannel;
}

/** The end of a sequence; there is exactly one for every prompt. */
export interface TextFinishEvent extends Omit<FinishEvent, 'requestIndex'> {
  readonly promptIndex: number;
  /** The whole new text as the model wrote it, tags included; empty without a tokenizer. */
  readonly text: string;
  /**
   * What the model thought, without the tags and the blanks around it: the pieces of that channel
   * and `lastReasoning` together. Empty unless reasoning is split. All of the text if the end of the
   * reasoning was not reached; `finishReason` says why.
   */
  readonly reasoning: string;
  /** The rest of the text: the pieces of that channel and `lastPiece` together. */
  readonly answer: string;
  /** Reasoning that was held back until the end was certain; belongs after the last token's piece. */
  readonly lastReasoning: string;
  /** Answer that was held back until the end was certain; belongs after all else. */
  readonly lastPiece: string;
  /** New ids, the stop id included. */
  readonly tokenIds: readonly number[];
  /** Loops that each new token took. */
  readonly exitDepths: readonly number[];
  /** Mean of `exitDepths`; 0 if there are none. */
  readonly meanDepth: number;
}

export type TextEvent = TextTokenEvent | TextFinishEvent;

/** What ends a sequence's text, and what it is parted into. */
export interface SequenceTextOptions {
  readonly stopIds: readonly number[];
  readonly stopStrings: readonly string[];
  /** Parts reasoning from the answer; whether the prompt has opened `<think>`. Absent: all answer. */
  readonly thinking?: boolean;
}

/** Turns the engine's events of one sequence into events with text. */
export class SequenceText {
  readonly #tokenizer: Tokenizer | undefined;
  readonly #stopIds: readonly number[];
  readonly #decoder: DecodeStream | undefined;
  readonly #matcher: StopStringMatcher;
  readonly #splitter: ReasoningSplitter | undefined;
  readonly #tokenIds: number[] = [];
  readonly #exitDepths: number[] = [];
  #text = '';
  #reasoning = '';
  #answer = '';
  /** The part of `#answer` that no event has shown. */
  #waiting = '';
  #stoppedByString = false;
  #hasFinished = false;

  constructor(tokenizer: Tokenizer | undefined, options: SequenceTextOptions) {
    const { stopIds, stopStrings, thinking } = options;
    this.#tokenizer = tokenizer;
    this.#stopIds = stopIds;
    this.#splitter = thinking === undefined ? undefined : new ReasoningSplitter(thinking);
    this.#decoder = tokenizer?.decodeStream({
      skipSpecialTokens: true,
      ...(this.#splitter && { keepTokens: [...THINK_TAGS, ...TOOL_CALL_TAGS] }),
    });
    this.#matcher = new StopStringMatcher(stopStrings);
  }

  /** Whether no more tokens of the sequence are wanted. */
  get hasEnded(): boolean {
    return this.#stoppedByString || this.#hasFinished;
  }

  /** The event with text; undefined for a token behind the end of the text. */
  take(event: EngineEvent): TextEvent | undefined {
    if (event.kind === 'finish') return this.#finish(event);
    return this.#stoppedByString ? undefined : this.#token(event);
  }

  #token(event: TokenEvent): TextTokenEvent {
    const { requestIndex: promptIndex, sampledId: _, ...token } = event;
    this.#tokenIds.push(token.tokenId);
    this.#exitDepths.push(token.exitDepth);
    const shown = this.#show(this.#match(this.#decode(token.tokenId)));
    return { ...token, promptIndex, ...shown };
  }

  /** Text of a token; none for stop ids, and for ids that the vocabulary leaves out. */
  #decode(tokenId: number): string {
    if (this.#stopIds.includes(tokenId)) return '';
    if (this.#tokenizer?.idToToken(tokenId) === undefined) return '';
    return this.#decoder?.push(tokenId) ?? '';
  }

  /** The part of a piece of text that is certain, as far as stop strings go. */
  #match(piece: string): string {
    const { text, stoppedBy } = this.#matcher.push(piece);
    this.#stoppedByString = stoppedBy !== undefined;
    return text;
  }

  /** What an event shows of a piece. An event has one channel: the answer waits for the next one. */
  #show(piece: string): Pick<TextTokenEvent, 'text' | 'channel'> {
    const reasoning = this.#add(piece, this.#splitter?.push(piece));
    if (reasoning !== '') return { text: reasoning, channel: 'reasoning' };
    const text = this.#takeWaiting();
    return { text, channel: text === '' ? (this.#splitter?.channel ?? 'answer') : 'answer' };
  }

  /** Adds a piece to the texts; returns the reasoning in it. */
  #add(piece: string, parts: SplitText = { reasoning: '', answer: piece }): string {
    this.#text += piece;
    this.#reasoning += parts.reasoning;
    this.#answer += parts.answer;
    this.#waiting += parts.answer;
    return parts.reasoning;
  }

  #takeWaiting(): string {
    const text = this.#waiting;
    this.#waiting = '';
    return text;
  }

  #finish(event: FinishEvent): TextFinishEvent {
    const lastReasoning = this.#end();
    this.#hasFinished = true;
    const finishReason = this.#stoppedByString ? 'stop-string' : event.finishReason;
    return {
      kind: 'finish',
      promptIndex: event.requestIndex,
      finishReason,
      text: this.#text,
      reasoning: this.#reasoning,
      answer: this.#answer,
      lastReasoning,
      lastPiece: this.#takeWaiting(),
      tokenIds: this.#tokenIds,
      exitDepths: this.#exitDepths,
      meanDepth: meanOf(this.#exitDepths),
      executedLoops: event.executedLoops,
      fullDepthLoops: event.fullDepthLoops,
      numPromptTokens: event.numPromptTokens,
      cachedTokens: event.cachedTokens,
      draftedTokens: event.draftedTokens,
      acceptedTokens: event.acceptedTokens,
      weightsVersion: event.weightsVersion,
    };
  }

  /** Releases what was held back, and returns the reasoning in it. */
  #end(): string {
    const piece = this.#stoppedByString ? '' : this.#unfinishedPiece();
    return this.#add(piece, this.#splitter?.push(piece)) + this.#add('', this.#splitter?.flush());
  }

  /** Text that was held back for want of more; an unfinished character becomes U+FFFD. */
  #unfinishedPiece(): string {
    const piece = this.#match(this.#decoder?.flush() ?? '');
    return piece + this.#matcher.flush();
  }
}

function meanOf(depths: readonly number[]): number {
  return depths.reduce((sum, depth) => sum + depth, 0) / Math.max(1, depths.length);
}
