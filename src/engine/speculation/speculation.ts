/**
 * Self-speculation: a token is guessed at a shallow depth, and the tokens after it begin while its
 * deeper loops run.
 *
 * A guess is what a shallow readout says; where it is what the token's own depth says in the end,
 * whatever was computed on it is kept, so nothing but the time changes. At which depth to guess is
 * decided here, from how often guesses of each depth were right and from what steps cost; where
 * guesses do not pay there are none.
 * Source: docs/math.md (self-speculation).
 */
import { ConfigError } from '../../errors.js';
import { showValue } from '../../util/quote.js';
import type { CostOfParts } from './step-cost.js';
import { StepCost } from './step-cost.js';

/** The depth after which tokens are guessed; `auto` as it pays, `off` never. */
export type Speculation = 'auto' | 'off' | number;

/** The forms that `parseSpeculation` reads, for help texts. */
export const SPECULATION_FORMS = 'auto, off, or the depth at which to guess, such as 2';

/**
 * Whether and how to guess, from a text.
 *
 * @throws ConfigError for any other text; whether a run has that depth is checked with its request
 */
export function parseSpeculation(text: string): Speculation {
  if (text === 'auto' || text === 'off') return text;
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new ConfigError(
    'speculation',
    `speculation is ${showValue(text)}; it must be ${SPECULATION_FORMS}.`,
  );
}

/** What a sequence asks before it guesses, and tells afterwards. */
export interface DraftControl {
  /** Depth at which to guess next; undefined for not at all. */
  depth(numLoops: number): number | undefined;
  /** Whether a guess made at a depth was right. */
  note(depth: number, isRight: boolean): void;
  /** How deep a token went. */
  noteExit(exitDepth: number): void;
}

/** Always the same depth, or never. */
export function fixedDrafts(depth?: number): DraftControl {
  return { depth: () => depth, note: () => {}, noteExit: () => {} };
}

/** A guess counts for so much after each further one of its depth. */
const MEMORY = 0.98;

/** Of a depth that was not tried: so many guesses, so many of them right. */
const PRIOR = { tries: 4, right: 3.4 };

/** What must be gained before guesses are made. */
const LEAST_GAIN = 1.05;

/** Tokens without guesses after which one is tried again. */
const TRY_AGAIN_AFTER = 64;

/** Decides for all sequences of an engine together. */
export class AdaptiveDrafts implements DraftControl {
  readonly cost = new StepCost();
  /** By depth. */
  readonly #guesses = new Map<number, { tries: number; right: number }>();
  #exitDepth: number | undefined;
  #numWithout = 0;

  depth(numLoops: number): number | undefined {
    const exitDepth = this.#exitDepth ?? numLoops;
    const depths = Array.from({ length: numLoops - 1 }, (_, index) => index + 1).filter(
      (depth) => depth < exitDepth,
    );
    const { step, row, readout } = this.cost.parts;
    // A step is shared by all that are in it.
    const shared = { step: step / Math.max(1, this.cost.streams), row, readout };
    const [best] = depths
      .map((depth) => ({ depth, cost: costOfGuessing(this.#world(depth, exitDepth), shared) }))
      .toSorted((a, b) => a.cost - b.cost);
    if (best && best.cost * LEAST_GAIN < costOfToken(exitDepth, shared)) {
      this.#numWithout = 0;
      return best.depth;
    }
    if (++this.#numWithout < TRY_AGAIN_AFTER) return undefined;
    this.#numWithout = 0;
    return depths.toSorted((a, b) => this.#guess(a).tries - this.#guess(b).tries)[0];
  }

  note(depth: number, isRight: boolean): void {
    const before = this.#guess(depth);
    this.#guesses.set(depth, {
      tries: MEMORY * before.tries + 1,
      right: MEMORY * before.right + Number(isRight),
    });
  }

  noteExit(exitDepth: number): void {
    this.#exitDepth = MEMORY * (this.#exitDepth ?? exitDepth) + (1 - MEMORY) * exitDepth;
  }

  #guess(depth: number): { readonly tries: number; readonly right: number } {
    return this.#guesses.get(depth) ?? PRIOR;
  }

  #world(depth: number, exitDepth: number): World {
    const { tries, right } = this.#guess(depth);
    return { depth, exitDepth, wrong: 1 - right / tries };
  }
}

interface World {
  readonly depth: number;
  /** Of a token, on average. */
  readonly exitDepth: number;
  /** How often a guess is wrong, 0 to 1. */
  readonly wrong: number;
}

function costOfToken(exitDepth: number, { step, row, readout }: CostOfParts): number {
  return exitDepth * (step + row) + readout;
}

/**
 * Of a token, on average. One token follows the other after `depth` steps; a wrong guess is noticed
 * only when the token before it has exited, and by then those that followed have run in vain.
 */
function costOfGuessing(
  { depth, exitDepth, wrong }: World,
  { step, row, readout }: CostOfParts,
): number {
  const late = exitDepth - depth;
  let inVain = 0;
  for (let rows = late; rows > 0; rows -= depth) inVain += rows;
  const numSteps = depth + wrong * late;
  const numRows = exitDepth + wrong * inVain;
  const numReadouts = 2 + (wrong * late) / depth;
  return numSteps * step + numRows * row + numReadouts * readout;
}
