/**
 * A tile: up to four query vectors against one page of one kv head, all in one pass over its rows.
 *
 * Each key and value is loaded and widened once for the tile, four positions at a time. Queries and
 * sums of a tile are interleaved: for every 8 dimensions, 8 numbers of each vector; of halves the
 * even dimensions come first, because that is how they widen. `T` is f32 or u16 (halves), `R` the
 * number of vectors, 1, 2 or 4: both are constants wherever these functions are inlined.
 * Source: online softmax, Milakov and Gimelshein, arXiv 1805.02867.
 */
import { SCORE_BYTES } from './memory';
import { HALF_SCALE, evenHalves, exp2, laneMax, laneSum, laneSums, oddHalves } from './numbers';

/** Numbers 0 to 3 of the 8 that begin at `at`, whose first 16 bytes are `word`. */
// @ts-ignore: decorator
@inline
function first<T>(word: v128): v128 {
  return sizeof<T>() == 2 ? evenHalves(word) : word;
}

// @ts-ignore: decorator
@inline
function second<T>(word: v128, at: usize): v128 {
  return sizeof<T>() == 2 ? oddHalves(word) : v128.load(at, 16);
}

/** sum + a * x + b * y, lane by lane. */
// @ts-ignore: decorator
@inline
function addProducts(sum: v128, a: v128, x: v128, b: v128, y: v128): v128 {
  return f32x4.add(sum, f32x4.add(f32x4.mul(a, x), f32x4.mul(b, y)));
}

/** Scores of one vector for `count` positions, rounded up to 4. */
// @ts-ignore: decorator
@inline
function scoresOfOne<T>(q: usize, keys: usize, row: usize, count: i32, scores: usize): void {
  const end = keys + <usize>count * row;
  while (keys < end) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let at = q;
    const rowEnd = keys + row;
    while (keys < rowEnd) {
      const qa = v128.load(at);
      const qb = v128.load(at, 16);
      let k = keys;
      let w = v128.load(k);
      s0 = addProducts(s0, first<T>(w), qa, second<T>(w, k), qb);
      k += row;
      w = v128.load(k);
      s1 = addProducts(s1, first<T>(w), qa, second<T>(w, k), qb);
      k += row;
      w = v128.load(k);
      s2 = addProducts(s2, first<T>(w), qa, second<T>(w, k), qb);
      k += row;
      w = v128.load(k);
      s3 = addProducts(s3, first<T>(w), qa, second<T>(w, k), qb);
      at += 32;
      keys += 8 * sizeof<T>();
    }
    v128.store(scores, laneSums(s0, s1, s2, s3));
    keys += 3 * row;
    scores += 16;
  }
}

/** Scores of two vectors for `count` positions, rounded up to 4. */
// @ts-ignore: decorator
@inline
function scoresOfTwo<T>(q: usize, keys: usize, row: usize, count: i32, scores: usize): void {
  const end = keys + <usize>count * row;
  while (keys < end) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let t0 = s0;
    let t1 = s0;
    let t2 = s0;
    let t3 = s0;
    let at = q;
    const rowEnd = keys + row;
    while (keys < rowEnd) {
      let k = keys;
      let w = v128.load(k);
      let a = first<T>(w);
      let b = second<T>(w, k);
      s0 = addProducts(s0, a, v128.load(at), b, v128.load(at, 16));
      t0 = addProducts(t0, a, v128.load(at, 32), b, v128.load(at, 48));
      k += row;
      w = v128.load(k);
      a = first<T>(w);
      b = second<T>(w, k);
      s1 = addProducts(s1, a, v128.load(at), b, v128.load(at, 16));
      t1 = addProducts(t1, a, v128.load(at, 32), b, v128.load(at, 48));
      k += row;
      w = v128.load(k);
      a = first<T>(w);
      b = second<T>(w, k);
      s2 = addProducts(s2, a, v128.load(at), b, v128.load(at, 16));
      t2 = addProducts(t2, a, v128.load(at, 32), b, v128.load(at, 48));
      k += row;
      w = v128.load(k);
      a = first<T>(w);
      b = second<T>(w, k);
      s3 = addProducts(s3, a, v128.load(at), b, v128.load(at, 16));
      t3 = addProducts(t3, a, v128.load(at, 32), b, v128.load(at, 48));
      at += 64;
      keys += 8 * sizeof<T>();
    }
    v128.store(scores, laneSums(s0, s1, s2, s3));
    v128.store(scores + SCORE_BYTES, laneSums(t0, t1, t2, t3));
    keys += 3 * row;
    scores += 16;
  }
}

/** Scores of four vectors for `count` positions, rounded up to 2. */
// @ts-ignore: decorator
@inline
function scoresOfFour<T>(q: usize, keys: usize, row: usize, count: i32, scores: usize): void {
  const end = keys + <usize>count * row;
  while (keys < end) {
    let s0 = f32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let t0 = s0;
    let t1 = s0;
    let t2 = s0;
    let t3 = s0;
    let at = q;
    const rowEnd = keys + row;
    while (keys < rowEnd) {
      let k = keys;
      let w = v128.load(k);
      let a = first<T>(w);
      let b = second<T>(w, k);
      k += row;
      w = v128.load(k);
      const c = first<T>(w);
      const d = second<T>(w, k);
      let qa = v128.load(at);
      let qb = v128.load(at, 16);
      s0 = addProducts(s0, a, qa, b, qb);
      t0 = addProducts(t0, c, qa, d, qb);
      qa = v128.load(at, 32);
      qb = v128.load(at, 48);
      s1 = addProducts(s1, a, qa, b, qb);
      t1 = addProducts(t1, c, qa, d, qb);
      qa = v128.load(at, 64);
      qb = v128.load(at, 80);
      s2 = addProducts(s2, a, qa, b, qb);
      t2 = addProducts(t2, c, qa, d, qb);
      qa = v128.load(at, 96);
      qb = v128.load(at, 112);
      s3 = addProducts(s3, a, qa, b, qb);
      t3 = addProducts(t3, c, qa, d, qb);
      at += 128;
      keys += 8 * sizeof<T>();
    }
    const first = laneSums(s0, t0, s1, t1);
    const second = laneSums(s2, t2, s3, t3);
    v128.store64_lane(scores, first, 0);
    v128.store64_lane(scores + SCORE_BYTES, first, 1);
    v128.store64_lane(scores + 2 * SCORE_BYTES, second, 0);
    v128.store64_lane(scores + 3 * SCORE_BYTES, second, 1);
    keys += row;
    scores += 8;
  }
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
function valuesOfOne<T>(values: usize, row: usize, count: i32, weights: usize, sums: usize): void {
  const end = values + <usize>count * row;
  while (values < end) {
    const p0 = v128.load32_splat(weights);
    const p1 = v128.load32_splat(weights, 4);
    const p2 = v128.load32_splat(weights, 8);
    const p3 = v128.load32_splat(weights, 12);
    let sum = sums;
    const rowEnd = values + row;
    while (values < rowEnd) {
      let at = values;
      let w = v128.load(at);
      let a = f32x4.add(v128.load(sum), f32x4.mul(first<T>(w), p0));
      let b = f32x4.add(v128.load(sum, 16), f32x4.mul(second<T>(w, at), p0));
      at += row;
      w = v128.load(at);
      a = f32x4.add(a, f32x4.mul(first<T>(w), p1));
      b = f32x4.add(b, f32x4.mul(second<T>(w, at), p1));
      at += row;
      w = v128.load(at);
      a = f32x4.add(a, f32x4.mul(first<T>(w), p2));
      b = f32x4.add(b, f32x4.mul(second<T>(w, at), p2));
      at += row;
      w = v128.load(at);
      v128.store(sum, f32x4.add(a, f32x4.mul(first<T>(w), p3)));
      v128.store(sum, f32x4.add(b, f32x4.mul(second<T>(w, at), p3)), 16);
      sum += 32;
      values += 8 * sizeof<T>();
    }
    values += 3 * row;
    weights += 16;
  }
}

/** The same for two vectors. */
// @ts-ignore: decorator
@inline
function valuesOfTwo<T>(values: usize, row: usize, count: i32, weights: usize, sums: usize): void {
  const end = values + <usize>count * row;
  while (values < end) {
    let sum = sums;
    const rowEnd = values + row;
    while (values < rowEnd) {
      let a0 = v128.load(sum);
      let b0 = v128.load(sum, 16);
      let a1 = v128.load(sum, 32);
      let b1 = v128.load(sum, 48);
      let at = values;
      let w = v128.load(at);
      let a = first<T>(w);
      let b = second<T>(w, at);
      let p = v128.load32_splat(weights);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 4);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 4);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 8);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 8);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 12);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 12);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      v128.store(sum, a0);
      v128.store(sum, b0, 16);
      v128.store(sum, a1, 32);
      v128.store(sum, b1, 48);
      sum += 64;
      values += 8 * sizeof<T>();
    }
    values += 3 * row;
    weights += 16;
  }
}

/** The same for four vectors. */
// @ts-ignore: decorator
@inline
function valuesOfFour<T>(values: usize, row: usize, count: i32, weights: usize, sums: usize): void {
  const end = values + <usize>count * row;
  while (values < end) {
    let sum = sums;
    const rowEnd = values + row;
    while (values < rowEnd) {
      let a0 = v128.load(sum);
      let b0 = v128.load(sum, 16);
      let a1 = v128.load(sum, 32);
      let b1 = v128.load(sum, 48);
      let a2 = v128.load(sum, 64);
      let b2 = v128.load(sum, 80);
      let a3 = v128.load(sum, 96);
      let b3 = v128.load(sum, 112);
      let at = values;
      let w = v128.load(at);
      let a = first<T>(w);
      let b = second<T>(w, at);
      let p = v128.load32_splat(weights);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 2 * SCORE_BYTES);
      a2 = f32x4.add(a2, f32x4.mul(a, p));
      b2 = f32x4.add(b2, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 3 * SCORE_BYTES);
      a3 = f32x4.add(a3, f32x4.mul(a, p));
      b3 = f32x4.add(b3, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 4);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 4);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 2 * SCORE_BYTES + 4);
      a2 = f32x4.add(a2, f32x4.mul(a, p));
      b2 = f32x4.add(b2, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 3 * SCORE_BYTES + 4);
      a3 = f32x4.add(a3, f32x4.mul(a, p));
      b3 = f32x4.add(b3, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 8);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 8);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 2 * SCORE_BYTES + 8);
      a2 = f32x4.add(a2, f32x4.mul(a, p));
      b2 = f32x4.add(b2, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 3 * SCORE_BYTES + 8);
      a3 = f32x4.add(a3, f32x4.mul(a, p));
      b3 = f32x4.add(b3, f32x4.mul(b, p));
      at += row;
      w = v128.load(at);
      a = first<T>(w);
      b = second<T>(w, at);
      p = v128.load32_splat(weights, 12);
      a0 = f32x4.add(a0, f32x4.mul(a, p));
      b0 = f32x4.add(b0, f32x4.mul(b, p));
      p = v128.load32_splat(weights, SCORE_BYTES + 12);
      a1 = f32x4.add(a1, f32x4.mul(a, p));
      b1 = f32x4.add(b1, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 2 * SCORE_BYTES + 12);
      a2 = f32x4.add(a2, f32x4.mul(a, p));
      b2 = f32x4.add(b2, f32x4.mul(b, p));
      p = v128.load32_splat(weights, 3 * SCORE_BYTES + 12);
      a3 = f32x4.add(a3, f32x4.mul(a, p));
      b3 = f32x4.add(b3, f32x4.mul(b, p));
      v128.store(sum, a0);
      v128.store(sum, b0, 16);
      v128.store(sum, a1, 32);
      v128.store(sum, b1, 48);
      v128.store(sum, a2, 64);
      v128.store(sum, b2, 80);
      v128.store(sum, a3, 96);
      v128.store(sum, b3, 112);
      sum += 128;
      values += 8 * sizeof<T>();
    }
    values += 3 * row;
    weights += 16;
  }
}

/** The same for one position and a tile of any size: what a count leaves over from fours. */
function valueOfAny<T>(values: usize, row: usize, weights: usize, tile: i32, sums: usize): void {
  const rowEnd = values + row;
  for (let at = values; at < rowEnd; at += 8 * sizeof<T>()) {
    const w = v128.load(at);
    const a = first<T>(w);
    const b = second<T>(w, at);
    for (let r = 0; r < tile; r++) {
      const p = v128.load32_splat(weights + <usize>r * SCORE_BYTES);
      v128.store(sums, f32x4.add(v128.load(sums), f32x4.mul(a, p)));
      v128.store(sums, f32x4.add(v128.load(sums, 16), f32x4.mul(b, p)), 16);
      sums += 32;
    }
  }
}

/** Scores of a tile for `count` positions, rounded up to 4. */
export function scoresOfTile<T>(
  tile: i32,
  q: usize,
  keys: usize,
  row: usize,
  count: i32,
  scores: usize,
): void {
  if (tile == 1) scoresOfOne<T>(q, keys, row, count, scores);
  else if (tile == 2) scoresOfTwo<T>(q, keys, row, count, scores);
  else scoresOfFour<T>(q, keys, row, count, scores);
}

/** Adds the weighted values of `count` positions to the sums of a tile. */
export function valuesOfTile<T>(
  tile: i32,
  values: usize,
  row: usize,
  count: i32,
  weights: usize,
  sums: usize,
): void {
  const fours = count & ~3;
  if (tile == 1) valuesOfOne<T>(values, row, fours, weights, sums);
  else if (tile == 2) valuesOfTwo<T>(values, row, fours, weights, sums);
  else valuesOfFour<T>(values, row, fours, weights, sums);
  // What lies behind the last position may be anything, even infinite: it is not touched.
  for (let i = fours; i < count; i++) {
    valueOfAny<T>(values + <usize>i * row, row, weights + (<usize>i << 2), tile, sums);
  }
}
