/**
 * A tile: up to four query vectors against one page of one kv head, all in one pass over its rows.
 *
 * Each key and value is loaded and widened once for the tile, four positions at a time, front to back in memory. Queries and
 * sums of a tile are interleaved: for every 8 dimensions, 8 numbers of each vector; of halves the
 * even dimensions come first, because that is how they widen. `T` is f32 or u16 (halves), `R` the
 * number of vectors, 1, 2 or 4: both are constants wherever these functions are inlined.
 * Source: online softmax, Milakov and Gimelshein, arXiv 1805.02867.
 */
import { SCORE_BYTES } from './memory';
import { HALF_SCALE, evenHalves, exp2, laneMax, laneSum, laneSums, oddHalves } from './numbers';

/** Elements of 8 dimensions of four positions. */
const FOUR: usize = 32;

/** The first 16 bytes of 8 dimensions of position `k` of a block of four. */
// @ts-ignore: decorator
@inline
function chunk<T>(at: usize, k: usize): v128 {
  return v128.load(at + k * 8 * sizeof<T>());
}

/** Of these 8 numbers, those that meet the first 4 of a tile's vector. */
// @ts-ignore: decorator
@inline
function first<T>(word: v128): v128 {
  return sizeof<T>() == 2 ? evenHalves(word) : word;
}

/** And those that meet the second 4. */
// @ts-ignore: decorator
@inline
function second<T>(word: v128, at: usize, k: usize): v128 {
  return sizeof<T>() == 2 ? oddHalves(word) : v128.load(at + k * 8 * sizeof<T>() + 16);
}

/** sum + (a * x + b * y), lane by lane; in this order for every R, so that a vector's score does not depend on its tile. */
// @ts-ignore: decorator
@inline
function addProducts(sum: v128, a: v128, x: v128, b: v128, y: v128): v128 {
  return f32x4.add(sum, f32x4.add(f32x4.mul(a, x), f32x4.mul(b, y)));
}

/** Scores of one vector for `count` positions, a multiple of 4. */
// @ts-ignore: decorator
@inline
function scoresOfOne<T>(q: usize, qEnd: usize, keys: usize, count: i32, scores: usize): void {
  const end = scores + (<usize>count << 2);
  while (scores < end) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (let at = q; at < qEnd; at += 32) {
      const x = v128.load(at);
      const y = v128.load(at, 16);
      let w = chunk<T>(keys, 0);
      s0 = addProducts(s0, first<T>(w), x, second<T>(w, keys, 0), y);
      w = chunk<T>(keys, 1);
      s1 = addProducts(s1, first<T>(w), x, second<T>(w, keys, 1), y);
      w = chunk<T>(keys, 2);
      s2 = addProducts(s2, first<T>(w), x, second<T>(w, keys, 2), y);
      w = chunk<T>(keys, 3);
      s3 = addProducts(s3, first<T>(w), x, second<T>(w, keys, 3), y);
      keys += FOUR * sizeof<T>();
    }
    v128.store(scores, laneSums(s0, s1, s2, s3));
    scores += 16;
  }
}

/** The same for two vectors. */
// @ts-ignore: decorator
@inline
function scoresOfTwo<T>(q: usize, qEnd: usize, keys: usize, count: i32, scores: usize): void {
  const end = scores + (<usize>count << 2);
  while (scores < end) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let t0 = s0;
    let t1 = s0;
    let t2 = s0;
    let t3 = s0;
    for (let at = q; at < qEnd; at += 64) {
      let w = chunk<T>(keys, 0);
      let a = first<T>(w);
      let b = second<T>(w, keys, 0);
      s0 = addProducts(s0, a, v128.load(at), b, v128.load(at, 16));
      t0 = addProducts(t0, a, v128.load(at, 32), b, v128.load(at, 48));
      w = chunk<T>(keys, 1);
      a = first<T>(w);
      b = second<T>(w, keys, 1);
      s1 = addProducts(s1, a, v128.load(at), b, v128.load(at, 16));
      t1 = addProducts(t1, a, v128.load(at, 32), b, v128.load(at, 48));
      w = chunk<T>(keys, 2);
      a = first<T>(w);
      b = second<T>(w, keys, 2);
      s2 = addProducts(s2, a, v128.load(at), b, v128.load(at, 16));
      t2 = addProducts(t2, a, v128.load(at, 32), b, v128.load(at, 48));
      w = chunk<T>(keys, 3);
      a = first<T>(w);
      b = second<T>(w, keys, 3);
      s3 = addProducts(s3, a, v128.load(at), b, v128.load(at, 16));
      t3 = addProducts(t3, a, v128.load(at, 32), b, v128.load(at, 48));
      keys += FOUR * sizeof<T>();
    }
    v128.store(scores, laneSums(s0, s1, s2, s3));
    v128.store(scores + SCORE_BYTES, laneSums(t0, t1, t2, t3));
    scores += 16;
  }
}

/** The same for four vectors, two positions at a time: more would not fit the registers. */
// @ts-ignore: decorator
@inline
function scoresOfFour<T>(q: usize, qEnd: usize, keys: usize, count: i32, scores: usize): void {
  const end = scores + (<usize>count << 2);
  const half = 2 * 8 * sizeof<T>();
  while (scores < end) {
    const next = scoresOfTwoPositions<T>(q, qEnd, keys, scores);
    scoresOfTwoPositions<T>(q, qEnd, keys + half, scores + 8);
    keys = next;
    scores += 16;
  }
}

/** Returns the address behind the keys of this block of four positions. */
// @ts-ignore: decorator
@inline
function scoresOfTwoPositions<T>(q: usize, qEnd: usize, keys: usize, scores: usize): usize {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  for (let at = q; at < qEnd; at += 128) {
    let w = chunk<T>(keys, 0);
    const a = first<T>(w);
    const b = second<T>(w, keys, 0);
    w = chunk<T>(keys, 1);
    const c = first<T>(w);
    const d = second<T>(w, keys, 1);
    let x = v128.load(at);
    let y = v128.load(at, 16);
    s0 = addProducts(s0, a, x, b, y);
    t0 = addProducts(t0, c, x, d, y);
    x = v128.load(at, 32);
    y = v128.load(at, 48);
    s1 = addProducts(s1, a, x, b, y);
    t1 = addProducts(t1, c, x, d, y);
    x = v128.load(at, 64);
    y = v128.load(at, 80);
    s2 = addProducts(s2, a, x, b, y);
    t2 = addProducts(t2, c, x, d, y);
    x = v128.load(at, 96);
    y = v128.load(at, 112);
    s3 = addProducts(s3, a, x, b, y);
    t3 = addProducts(t3, c, x, d, y);
    keys += FOUR * sizeof<T>();
  }
  const low = laneSums(s0, t0, s1, t1);
  const high = laneSums(s2, t2, s3, t3);
  v128.store64_lane(scores, low, 0);
  v128.store64_lane(scores + SCORE_BYTES, low, 1);
  v128.store64_lane(scores + 2 * SCORE_BYTES, high, 0);
  v128.store64_lane(scores + 3 * SCORE_BYTES, high, 1);
  return keys;
}

/**
 * Turns one vector's scores (in units of log 2) into weights relative to the running maximum, of
 * which the first `visible` count; updates maximum and sum in `state` and scales the vector's sums
 * if the maximum grew. Weights are zero up to `count`, which is a multiple of 4.
 */
export function weigh(
  scores: usize,
  visible: i32,
  count: i32,
  state: usize,
  sum: usize,
  sumEnd: usize,
  tile: i32,
  scale: f32,
): void {
  for (let i = visible; i < count; i++) store<f32>(scores + (<usize>i << 2), -Infinity);
  const end = scores + (<usize>count << 2);
  let largest = v128.load(scores);
  for (let at = scores + 16; at < end; at += 16) largest = f32x4.pmax(largest, v128.load(at));
  const before = load<f32>(state);
  const maximum = max<f32>(before, laneMax(largest));
  let total = load<f32>(state, 4);
  if (maximum != before) {
    const shrink = exp2(f32x4.splat(before - maximum));
    total *= f32x4.extract_lane(shrink, 0);
    for (let at = sum; at < sumEnd; at += <usize>tile << 5) {
      v128.store(at, f32x4.mul(v128.load(at), shrink));
      v128.store(at, f32x4.mul(v128.load(at, 16), shrink), 16);
    }
  }
  const reference = f32x4.splat(maximum);
  const factor = f32x4.splat(scale);
  let added = f32x4.splat(0);
  for (let at = scores; at < end; at += 16) {
    const weight = exp2(f32x4.sub(v128.load(at), reference));
    added = f32x4.add(added, weight);
    v128.store(at, f32x4.mul(weight, factor));
  }
  store<f32>(state, maximum);
  store<f32>(state, total + laneSum(added), 4);
}

/** Adds the weighted values of `count` positions, a multiple of 4, to the sums of one vector. */
// @ts-ignore: decorator
@inline
function valuesOfOne<T>(values: usize, count: i32, weights: usize, sums: usize, end: usize): void {
  const last = weights + (<usize>count << 2);
  for (; weights < last; weights += 16) {
    const p0 = v128.load32_splat(weights);
    const p1 = v128.load32_splat(weights, 4);
    const p2 = v128.load32_splat(weights, 8);
    const p3 = v128.load32_splat(weights, 12);
    for (let at = sums; at < end; at += 32) {
      let w = chunk<T>(values, 0);
      let a = f32x4.add(v128.load(at), f32x4.mul(first<T>(w), p0));
      let b = f32x4.add(v128.load(at, 16), f32x4.mul(second<T>(w, values, 0), p0));
      w = chunk<T>(values, 1);
      a = f32x4.add(a, f32x4.mul(first<T>(w), p1));
      b = f32x4.add(b, f32x4.mul(second<T>(w, values, 1), p1));
      w = chunk<T>(values, 2);
      a = f32x4.add(a, f32x4.mul(first<T>(w), p2));
      b = f32x4.add(b, f32x4.mul(second<T>(w, values, 2), p2));
      w = chunk<T>(values, 3);
      v128.store(at, f32x4.add(a, f32x4.mul(first<T>(w), p3)));
      v128.store(at, f32x4.add(b, f32x4.mul(second<T>(w, values, 3), p3)), 16);
      values += FOUR * sizeof<T>();
    }
  }
}

/**
 * Adds the weighted values of `count` positions, any number, to the sums of `R` vectors. The inner
 * loop stays a loop: unrolled, all its loads would come first and overflow the registers.
 */
// @ts-ignore: decorator
@inline
function valuesOfSome<T>(
  R: i32,
  values: usize,
  count: i32,
  weights: usize,
  sums: usize,
  end: usize,
): void {
  const last = weights + (<usize>count << 2);
  while (weights < last) {
    const next = min<usize>(weights + 16, last);
    for (let at = sums; at < end; at += <usize>R << 5) {
      let a0 = v128.load(at);
      let b0 = v128.load(at, 16);
      let a1 = a0;
      let b1 = a0;
      let a2 = a0;
      let b2 = a0;
      let a3 = a0;
      let b3 = a0;
      if (R > 1) {
        a1 = v128.load(at, 32);
        b1 = v128.load(at, 48);
      }
      if (R > 2) {
        a2 = v128.load(at, 64);
        b2 = v128.load(at, 80);
        a3 = v128.load(at, 96);
        b3 = v128.load(at, 112);
      }
      let from = values;
      for (let weight = weights; weight < next; weight += 4) {
        const w = chunk<T>(from, 0);
        const a = first<T>(w);
        const b = second<T>(w, from, 0);
        let p = v128.load32_splat(weight);
        a0 = f32x4.add(a0, f32x4.mul(a, p));
        b0 = f32x4.add(b0, f32x4.mul(b, p));
        if (R > 1) {
          p = v128.load32_splat(weight, SCORE_BYTES);
          a1 = f32x4.add(a1, f32x4.mul(a, p));
          b1 = f32x4.add(b1, f32x4.mul(b, p));
        }
        if (R > 2) {
          p = v128.load32_splat(weight, 2 * SCORE_BYTES);
          a2 = f32x4.add(a2, f32x4.mul(a, p));
          b2 = f32x4.add(b2, f32x4.mul(b, p));
          p = v128.load32_splat(weight, 3 * SCORE_BYTES);
          a3 = f32x4.add(a3, f32x4.mul(a, p));
          b3 = f32x4.add(b3, f32x4.mul(b, p));
        }
        from += 8 * sizeof<T>();
      }
      v128.store(at, a0);
      v128.store(at, b0, 16);
      if (R > 1) {
        v128.store(at, a1, 32);
        v128.store(at, b1, 48);
      }
      if (R > 2) {
        v128.store(at, a2, 64);
        v128.store(at, b2, 80);
        v128.store(at, a3, 96);
        v128.store(at, b3, 112);
      }
      values += FOUR * sizeof<T>();
    }
    weights = next;
  }
}

/** Scores of a tile for `count` positions, a multiple of 4. The queries end at `qEnd`. */
export function scoresOfTile<T>(
  tile: i32,
  q: usize,
  qEnd: usize,
  keys: usize,
  count: i32,
  scores: usize,
): void {
  if (tile == 1) scoresOfOne<T>(q, qEnd, keys, count, scores);
  else if (tile == 2) scoresOfTwo<T>(q, qEnd, keys, count, scores);
  else scoresOfFour<T>(q, qEnd, keys, count, scores);
}

/**
 * Adds the weighted values of `count` positions to the sums of a tile, which end at `end`. What lies
 * behind the last position may be anything, even infinite: it is not touched.
 */
export function valuesOfTile<T>(
  tile: i32,
  values: usize,
  row: usize,
  count: i32,
  weights: usize,
  sums: usize,
  end: usize,
): void {
  if (tile == 1) {
    const fours = count & ~3;
    valuesOfOne<T>(values, fours, weights, sums, end);
    const rest = values + <usize>fours * row;
    valuesOfSome<T>(1, rest, count - fours, weights + (<usize>fours << 2), sums, end);
  } else if (tile == 2) valuesOfSome<T>(2, values, count, weights, sums, end);
  else valuesOfSome<T>(4, values, count, weights, sums, end);
}
