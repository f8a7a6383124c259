/** Draws that tasks share. */
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import { assert } from 'looplm/errors';
import type { Range, Wording } from './problem.js';

export function pick<Item>(rng: RandomGenerator, items: readonly Item[]): Item {
  assert(items.length > 0, 'picked from an empty list');
  return items[uniformInt(rng, 0, items.length - 1)]!;
}

/** @param weight - of an item, relative to the others */
export function pickWeighted<Item>(
  rng: RandomGenerator,
  items: readonly Item[],
  weight: (item: Item) => number,
): Item {
  let rest = uniformFloat64(rng) * items.reduce((sum, item) => sum + weight(item), 0);
  const item = items.find((candidate) => (rest -= weight(candidate)) < 0) ?? items.at(-1);
  assert(item !== undefined, 'picked from an empty list');
  return item;
}

export const within = (rng: RandomGenerator, [from, to]: Range): number =>
  uniformInt(rng, from, to);

export const chance = (rng: RandomGenerator, probability: number): boolean =>
  uniformFloat64(rng) < probability;

export function shuffled<Item>(rng: RandomGenerator, items: readonly Item[]): Item[] {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const other = uniformInt(rng, 0, last);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}

/** So many different items in a random order. */
export const sample = <Item>(rng: RandomGenerator, items: readonly Item[], count: number): Item[] =>
  shuffled(rng, items).slice(0, count);

/** Ways to say one thing. */
export interface Ways<Way> {
  readonly trained: readonly Way[];
  readonly heldOut: readonly Way[];
}

export const wayOf = <Way>(rng: RandomGenerator, ways: Ways<Way>, wording: Wording): Way =>
  pick(rng, wording === 'held-out' ? ways.heldOut : ways.trained);
