/**
 * Learns the merges of byte-pair encoding from counted words.
 *
 * The pair of neighbouring symbols that is most frequent becomes one symbol, again and again; of
 * equally frequent ones the pair with the lower ids. Counts are kept up to date by the words in which
 * a pair occurs, and a heap tells the next pair: an entry whose count is out of date goes back with
 * the right one. Follows the trainer of the Hugging Face tokenizers library step by step, so that both
 * learn the same merges; where that keeps a count a moment too long, so does this.
 * Source: Sennrich et al. 2016, and `BpeTrainer` of the tokenizers library.
 */

/** Words as symbols. */
export interface CountedWord {
  readonly symbols: readonly number[];
  readonly count: number;
}

export interface MergeOptions {
  /** Text of each symbol there is at the start; the index is its id. */
  readonly symbols: readonly string[];
  /** Symbols to end with, at most. */
  readonly vocabSize: number;
  /** Pairs that are rarer are not merged. */
  readonly minFrequency: number;
}

export interface LearntMerges {
  /** Text of every symbol; the index is its id. */
  readonly symbols: readonly string[];
  /** Pairs of ids, in the order in which they are to be applied. */
  readonly merges: readonly (readonly [number, number])[];
}

/** Two ids as one number that orders as they do. */
const ID_SPACE = 2 ** 21;
const pairOf = (left: number, right: number) => left * ID_SPACE + right;

/** A pair in the heap, and the words in which it was seen when it was put there. */
interface Candidate {
  readonly pair: number;
  count: number;
  readonly words: readonly number[];
}

/**
 * Learns merges until there are `vocabSize` symbols or no pair is frequent enough.
 *
 * @yields the number of symbols after every merge, so that the caller may show progress or stop.
 */
export function* learnMerges(
  words: Iterable<CountedWord>,
  { symbols: initial, vocabSize, minFrequency }: MergeOptions,
): Generator<number, LearntMerges, undefined> {
  const symbols = [...initial];
  const idOf = new Map(symbols.map((text, id) => [text, id]));
  const sequences: number[][] = [];
  const wordCounts: number[] = [];
  for (const { symbols: sequence, count } of words) {
    sequences.push([...sequence]);
    wordCounts.push(count);
  }
  const pairCounts = new Map<number, number>();
  const heap = new CandidateHeap();
  let seenIn = new Map<number, number[]>();
  const add = (pair: number, change: number, word: number) => {
    pairCounts.set(pair, (pairCounts.get(pair) ?? 0) + change * wordCounts[word]!);
    if (change < 0) return;
    const seen = seenIn.get(pair);
    if (seen === undefined) seenIn.set(pair, [word]);
    else if (seen.at(-1) !== word) seen.push(word);
  };
  const queueSeen = () => {
    for (const [pair, seen] of seenIn) {
      const count = pairCounts.get(pair)!;
      if (count > 0) heap.push({ pair, count, words: seen });
    }
    seenIn = new Map();
  };

  for (const [word, sequence] of sequences.entries()) {
    for (let i = 1; i < sequence.length; i++) {
      add(pairOf(sequence[i - 1]!, sequence[i]!), 1, word);
    }
  }
  queueSeen();

  // The last rank counts of a pair that comes up twice, as its text was made of two other parts.
  const ranks = new Map<number, number>();
  for (let rank = 0; symbols.length < vocabSize;) {
    const top = heap.pop();
    if (top === undefined) break;
    const count = pairCounts.get(top.pair)!;
    if (top.count !== count) {
      top.count = count;
      heap.push(top);
      continue;
    }
    if (count < 1 || count < minFrequency) break;
    const [left, right] = partsOf(top.pair);
    const text = symbols[left]! + symbols[right]!;
    const merged = idOf.get(text) ?? symbols.push(text) - 1;
    idOf.set(text, merged);
    ranks.set(top.pair, rank++);
    for (const word of top.words) mergeIn(sequences[word]!, left, right, merged, word, add);
    queueSeen();
    yield symbols.length;
  }
  const merges = [...ranks].toSorted(([, a], [, b]) => a - b).map(([pair]) => partsOf(pair));
  return { symbols, merges };
}

function partsOf(pair: number): readonly [number, number] {
  const left = Math.floor(pair / ID_SPACE);
  return [left, pair - left * ID_SPACE];
}

/** Merges a pair wherever it stands in a word, from left to right, and tells what that changes. */
function mergeIn(
  sequence: number[],
  left: number,
  right: number,
  merged: number,
  word: number,
  add: (pair: number, change: number, word: number) => void,
): void {
  let end = 0; // of what is rewritten, in place
  for (let i = 0; i < sequence.length; i++) {
    const symbol = sequence[i]!;
    if (symbol !== left || sequence[i + 1] !== right) {
      sequence[end++] = symbol;
      continue;
    }
    if (end > 0) {
      add(pairOf(sequence[end - 1]!, left), -1, word);
      add(pairOf(sequence[end - 1]!, merged), 1, word);
    }
    i++;
    sequence[end++] = merged;
    const next = sequence[i + 1];
    if (next === undefined) continue;
    add(pairOf(right, next), -1, word);
    add(pairOf(merged, next), 1, word);
  }
  sequence.length = end;
}

/** A binary heap: most frequent first, then lower ids. */
class CandidateHeap {
  readonly #items: Candidate[] = [];

  push(item: Candidate): void {
    const items = this.#items;
    let index = items.push(item) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(item, items[parent]!)) break;
      items[index] = items[parent]!;
      index = parent;
    }
    items[index] = item;
  }

  pop(): Candidate | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++;
      if (!isBefore(items[child]!, last)) break;
      items[index] = items[child]!;
      index = child;
    }
    items[index] = last;
    return top;
  }
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.count === b.count ? a.pair < b.pair : a.count > b.count;
}
