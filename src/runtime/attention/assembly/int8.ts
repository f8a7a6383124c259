/**
 * Keys and values in 8 bits: integers of -127 to 127 and a scale for every 32 dimensions of a
 * position, largest magnitude / 127.
 *
 * A head's keys, or its values, in a page are tiles of 32 positions and 32 dimensions: all dimensions
 * of the first positions, then of the next. A tile is 32 scales, f32, then the integers: of keys i8
 * [16, 32, 2], two dimensions of every position; of values i8 [16, 32, 2], two positions of every
 * dimension. So both scores and sums are 32 numbers, to which a pair times a pair of 16-bit factors is
 * added at a time, in 32 bits and without sums over lanes; and memory is read front to back. The
 * factors are queries and weights, rounded to 16 bits with a scale for each tile; that error is far
 * below the 8 bits'. The last dimensions are filled up with zeros.
 */
import {
  BLOCK_DIMS,
  SCORE_BYTES,
  blockBytes,
  headDim,
  scoresOf,
  secondStaging,
  softmaxState,
  stride,
  sums,
} from './memory';
import { laneMax, toIntegers } from './numbers';
import { weigh } from './tile';

/** Positions of a tile; it has `BLOCK_DIMS` dimensions, as many. */
const GROUP: i32 = 32;
const SCALE_BYTES: usize = 128;
const TILE_BYTES: usize = 1152;
/** Bytes from a pair of dimensions, or of positions, to the next. */
const PAIR_STEP: usize = 64;
const MAX_INT8: f32 = 127;
const MAX_INT16: f32 = 32767;
/** Magnitudes outside count as zero or as this, so that scales and their inverses are finite. */
const SMALLEST: f32 = 1e-30;
const LARGEST: f32 = 1e30;

function numBlocks(): i32 {
  return stride() / BLOCK_DIMS;
}

/** Dimensions of a block that are not padding. */
// @ts-ignore: decorator
@inline
function dimsOf(block: i32): i32 {
  return min<i32>(BLOCK_DIMS, headDim() - block * BLOCK_DIMS);
}

// Rows in and out.

/** The tile of a position's first dimensions; those of its next follow every `TILE_BYTES`. */
function tileAt(block: usize, offset: i32): usize {
  return block + <usize>((offset / GROUP) * numBlocks()) * TILE_BYTES;
}

// @ts-ignore: decorator
@inline
function scaleAt(tile: usize, offset: i32): usize {
  return tile + (<usize>(offset & (GROUP - 1)) << 2);
}

/** The largest magnitude of 32 numbers, at most `LARGEST`. */
// @ts-ignore: decorator
@inline
function magnitude(from: usize): f32 {
  let largest = f32x4.splat(0);
  for (let at = from; at < from + 4 * BLOCK_DIMS; at += 16) {
    largest = f32x4.pmax(largest, f32x4.abs(v128.load(at)));
  }
  return min<f32>(laneMax(largest), LARGEST);
}

/** Eight numbers times `factor` as integers of 16 bits, at most 127 in magnitude. */
// @ts-ignore: decorator
@inline
function eight(from: usize, factor: v128): v128 {
  const low = toIntegers(f32x4.mul(v128.load(from), factor));
  const high = toIntegers(f32x4.mul(v128.load(from, 16), factor));
  const both = i16x8.narrow_i32x4_s(low, high);
  return i16x8.max_s(i16x8.min_s(both, i16x8.splat(127)), i16x8.splat(-127));
}

/** Eight integers of a position's values, as 16 bits; `pair` has those of two positions in turn. */
// @ts-ignore: decorator
@inline
function ofPair(pair: v128, isOdd: bool): v128 {
  return i16x8.shr_s(isOdd ? pair : i16x8.shl(pair, 8), 8);
}

/** A pair with one position's integers put in. */
// @ts-ignore: decorator
@inline
function intoPair(pair: v128, isOdd: bool, integers: v128): v128 {
  const low = i16x8.splat(0xff);
  return isOdd
    ? v128.bitselect(pair, i16x8.shl(integers, 8), low)
    : v128.bitselect(integers, pair, low);
}

/** Where the integers of a position's value begin: 16 bytes are 8 dimensions of two positions. */
// @ts-ignore: decorator
@inline
function pairAt(tile: usize, offset: i32): usize {
  return tile + SCALE_BYTES + <usize>((offset & (GROUP - 1)) >> 1) * PAIR_STEP;
}

/** Where the integers of a position's key begin: two every `PAIR_STEP` bytes. */
// @ts-ignore: decorator
@inline
function keyAt(tile: usize, offset: i32): usize {
  return tile + SCALE_BYTES + <usize>(2 * (offset & (GROUP - 1)));
}

/** The integers of 8 dimensions of a key, in the low half. */
// @ts-ignore: decorator
@inline
function keyPairs(at: usize): v128 {
  let pairs = v128.load16_lane(at, i16x8.splat(0), 0);
  pairs = v128.load16_lane(at + PAIR_STEP, pairs, 1);
  pairs = v128.load16_lane(at + 2 * PAIR_STEP, pairs, 2);
  return v128.load16_lane(at + 3 * PAIR_STEP, pairs, 3);
}

// @ts-ignore: decorator
@inline
function storeKeyPairs(at: usize, pairs: v128): void {
  v128.store16_lane(at, pairs, 0);
  v128.store16_lane(at + PAIR_STEP, pairs, 1);
  v128.store16_lane(at + 2 * PAIR_STEP, pairs, 2);
  v128.store16_lane(at + 3 * PAIR_STEP, pairs, 3);
}

/** Stores a plain row of `headDim` numbers as the key or value of a position; `at` is the page's first. */
export function writeInt8Row(from: usize, at: usize, offset: i32, isValue: bool): void {
  let tile = tileAt(at, offset);
  for (let block = 0; block < numBlocks(); block++, tile += TILE_BYTES, from += 4 * BLOCK_DIMS) {
    let source = from;
    if (dimsOf(block) < BLOCK_DIMS) {
      source = scoresOf(0);
      memory.fill(source, 0, 4 * BLOCK_DIMS);
      memory.copy(source, from, <usize>dimsOf(block) << 2);
    }
    const largest = magnitude(source);
    const isZero = largest < SMALLEST;
    store<f32>(scaleAt(tile, offset), isZero ? <f32>0 : largest / MAX_INT8);
    const factor = f32x4.splat(isZero ? <f32>0 : MAX_INT8 / largest);
    let to = isValue ? pairAt(tile, offset) : keyAt(tile, offset);
    for (let d = 0; d < BLOCK_DIMS; d += 8, source += 32) {
      const integers = eight(source, factor);
      if (isValue) {
        v128.store(to, intoPair(v128.load(to), <bool>(offset & 1), integers));
        to += 16;
      } else {
        storeKeyPairs(to, i8x16.narrow_i16x8_s(integers, integers));
        to += 4 * PAIR_STEP;
      }
    }
  }
}

/** Reads the key or value of a position as `headDim` plain numbers. */
export function readInt8Row(at: usize, offset: i32, isValue: bool, to: usize): void {
  const scratch = scoresOf(0);
  let tile = tileAt(at, offset);
  for (let block = 0; block < numBlocks(); block++, tile += TILE_BYTES, to += 4 * BLOCK_DIMS) {
    const scale = v128.load32_splat(scaleAt(tile, offset));
    let from = isValue ? pairAt(tile, offset) : keyAt(tile, offset);
    const isWhole = dimsOf(block) == BLOCK_DIMS;
    let target = isWhole ? to : scratch;
    for (let d = 0; d < BLOCK_DIMS; d += 8, target += 32) {
      const integers = isValue
        ? ofPair(v128.load(from), <bool>(offset & 1))
        : i16x8.extend_low_i8x16_s(keyPairs(from));
      from += isValue ? 16 : 4 * PAIR_STEP;
      const low = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(integers));
      const high = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(integers));
      v128.store(target, f32x4.mul(low, scale));
      v128.store(target, f32x4.mul(high, scale), 16);
    }
    if (!isWhole) memory.copy(to, scratch, <usize>dimsOf(block) << 2);
  }
}

/** Copies the key or value of a position to another. */
export function copyInt8Row(
  fromAt: usize,
  fromOffset: i32,
  toAt: usize,
  toOffset: i32,
  isValue: bool,
): void {
  let from = tileAt(fromAt, fromOffset);
  let to = tileAt(toAt, toOffset);
  for (let block = 0; block < numBlocks(); block++, from += TILE_BYTES, to += TILE_BYTES) {
    store<f32>(scaleAt(to, toOffset), load<f32>(scaleAt(from, fromOffset)));
    let source = isValue ? pairAt(from, fromOffset) : keyAt(from, fromOffset);
    let target = isValue ? pairAt(to, toOffset) : keyAt(to, toOffset);
    for (let d = 0; d < BLOCK_DIMS; d += 8) {
      if (isValue) {
        const integers = ofPair(v128.load(source), <bool>(fromOffset & 1));
        v128.store(target, intoPair(v128.load(target), <bool>(toOffset & 1), integers));
      } else storeKeyPairs(target, keyPairs(source));
      source += isValue ? 16 : 4 * PAIR_STEP;
      target += isValue ? 16 : 4 * PAIR_STEP;
    }
  }
}

// Attention.

/** Bytes of a staged query: 16-bit integers, then a scale for each block. */
// @ts-ignore: decorator
@inline
function queryScales(query: usize): usize {
  return query + (<usize>stride() << 1);
}

/** Rounds a plain query at `from`; its scales carry the factor `scale`. */
export function stageInt8Query(from: usize, query: usize, scale: f32): void {
  const scales = queryScales(query);
  for (let block = 0; block < numBlocks(); block++, from += 4 * BLOCK_DIMS) {
    const count = dimsOf(block);
    let largest: f32 = 0;
    for (let d = 0; d < count; d++) {
      largest = max<f32>(largest, abs<f32>(load<f32>(from + (<usize>d << 2))));
    }
    const factor: f32 = largest < SMALLEST ? 0 : MAX_INT16 / largest;
    for (let d = 0; d < count; d++, query += 2) {
      store<i16>(query, <i16>(<i32>nearest<f32>(load<f32>(from + (<usize>d << 2)) * factor)));
    }
    store<f32>(scales + (<usize>block << 2), (largest / MAX_INT16) * scale);
  }
}

/** The weights of 32 positions times their scales, as 16-bit integers; returns their unit. */
// @ts-ignore: decorator
@inline
function scaleWeights(weights: usize, scales: usize, to: usize): f32 {
  const end = weights + 4 * GROUP;
  let largest = f32x4.splat(0);
  for (let at = weights, scale = scales; at < end; at += 16, scale += 16) {
    largest = f32x4.pmax(largest, f32x4.mul(v128.load(at), v128.load(scale)));
  }
  const most = laneMax(largest);
  const factor = f32x4.splat(most < SMALLEST ? <f32>0 : MAX_INT16 / most);
  for (let at = weights; at < end; at += 16, scales += 16, to += 8) {
    const scaled = f32x4.mul(f32x4.mul(v128.load(at), v128.load(scales)), factor);
    const integers = toIntegers(scaled);
    v128.store64_lane(to, i16x8.narrow_i32x4_s(integers, integers), 0);
  }
  return most / MAX_INT16;
}

/** 4 of the 32 sums: a pair of integers each, times the pair of factors. */
// @ts-ignore: decorator
@inline
function addPair(sum: v128, integers: usize, factors: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(v128.load_ext<i8>(integers), factors));
}

// @ts-ignore: decorator
@inline
function addScaled(at: usize, sum: v128, scale: v128): void {
  v128.store(at, f32x4.add(v128.load(at), f32x4.mul(f32x4.convert_i32x4_s(sum), scale)));
}

/**
 * Adds a tile's 16 pairs of rows of 32 integers, times their factors, to 32 numbers at `to`, in units
 * of `unit`; those of keys in units of the positions' scales as well.
 */
// @ts-ignore: decorator
@inline
function addTile(isKeys: bool, factors: usize, unit: f32, tile: usize, to: usize): void {
  let integers = tile + SCALE_BYTES;
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let s4 = s0;
  let s5 = s0;
  let s6 = s0;
  let s7 = s0;
  for (const end = tile + TILE_BYTES; integers < end; integers += PAIR_STEP, factors += 4) {
    const pair = v128.load32_splat(factors);
    s0 = addPair(s0, integers, pair);
    s1 = addPair(s1, integers + 8, pair);
    s2 = addPair(s2, integers + 16, pair);
    s3 = addPair(s3, integers + 24, pair);
    s4 = addPair(s4, integers + 32, pair);
    s5 = addPair(s5, integers + 40, pair);
    s6 = addPair(s6, integers + 48, pair);
    s7 = addPair(s7, integers + 56, pair);
  }
  const wide = f32x4.splat(unit);
  addScaled(to, s0, isKeys ? f32x4.mul(wide, v128.load(tile)) : wide);
  addScaled(to + 16, s1, isKeys ? f32x4.mul(wide, v128.load(tile, 16)) : wide);
  addScaled(to + 32, s2, isKeys ? f32x4.mul(wide, v128.load(tile, 32)) : wide);
  addScaled(to + 48, s3, isKeys ? f32x4.mul(wide, v128.load(tile, 48)) : wide);
  addScaled(to + 64, s4, isKeys ? f32x4.mul(wide, v128.load(tile, 64)) : wide);
  addScaled(to + 80, s5, isKeys ? f32x4.mul(wide, v128.load(tile, 80)) : wide);
  addScaled(to + 96, s6, isKeys ? f32x4.mul(wide, v128.load(tile, 96)) : wide);
  addScaled(to + 112, s7, isKeys ? f32x4.mul(wide, v128.load(tile, 112)) : wide);
}

/** As `attendPage` of attend.ts: all query vectors of one kv head against one page. */
export function attendInt8Page(
  keys: usize,
  firstVector: i32,
  count: i32,
  perRow: i32,
  lengths: usize,
  start: i32,
  visible: i32,
  thread: i32,
): void {
  const vectorBytes = <usize>stride() << 2;
  const scores = scoresOf(thread);
  const factors = scores + SCORE_BYTES;
  const rounded = (visible + GROUP - 1) & -GROUP;
  const end = scores + (<usize>rounded << 2);
  for (let index = 0; index < count; index++) {
    const vector = <usize>(firstVector + index);
    const query = secondStaging() + vector * vectorBytes;
    const scales = queryScales(query);
    memory.fill(scores, 0, SCORE_BYTES);
    let tile = keys;
    for (let at = scores; at < end; at += 4 * GROUP) {
      let part = query;
      for (let scale = scales; part < scales; part += 2 * BLOCK_DIMS, scale += 4) {
        addTile(true, part, load<f32>(scale), tile, at);
        tile += TILE_BYTES;
      }
    }
    const length = load<i32>(lengths + (<usize>(index / perRow) << 2));
    const seen = max<i32>(0, min<i32>(length - start, visible));
    const sum = sums() + vector * vectorBytes;
    const sumEnd = sum + vectorBytes;
    weigh(scores, seen, rounded, softmaxState() + (vector << 3), sum, sumEnd, 1, 1);
    tile = keys + blockBytes();
    for (let at = scores; at < end; at += 4 * GROUP) {
      for (let part = sum; part < sumEnd; part += 4 * BLOCK_DIMS) {
        addTile(false, factors, scaleWeights(at, tile, factors), tile, part);
        tile += TILE_BYTES;
      }
    }
  }
}
