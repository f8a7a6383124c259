/**
 * Rows in and out of the pages: writing new keys and values, copying between slots, reading back.
 *
 * A slot is page * pageSize + offset. Rows come and go through the staging areas as f32.
 */
import {
  blockBytes,
  blockOf,
  firstStaging,
  headDim,
  isHalf,
  numKvHeads,
  pageSize,
  rowBytes,
  rowLengths,
  secondStaging,
  tables,
} from './memory';
import { HALF_SCALE, evenHalves, oddHalves, toHalves } from './numbers';

function keysAt(slot: i32, head: i32): usize {
  return blockOf(slot / pageSize(), head) + <usize>(slot % pageSize()) * rowBytes();
}

function narrowRow(from: usize, to: usize, count: i32): void {
  let i: i32 = 0;
  for (; i + 8 <= count; i += 8) {
    const a = toHalves(v128.load(from));
    const b = toHalves(v128.load(from, 16));
    v128.store(to, i16x8.narrow_i32x4_u(a, b));
    from += 32;
    to += 16;
  }
  for (; i < count; i++) {
    store<u16>(to, <u16>i32x4.extract_lane(toHalves(f32x4.splat(load<f32>(from))), 0));
    from += 4;
    to += 2;
  }
}

function widenRow(from: usize, to: usize, count: i32): void {
  const scale = f32x4.splat(HALF_SCALE);
  let i: i32 = 0;
  for (; i + 8 <= count; i += 8) {
    const halves = v128.load(from);
    const even = f32x4.mul(evenHalves(halves), scale);
    const odd = f32x4.mul(oddHalves(halves), scale);
    v128.store(to, v128.shuffle<f32>(even, odd, 0, 4, 1, 5));
    v128.store(to, v128.shuffle<f32>(even, odd, 2, 6, 3, 7), 16);
    from += 16;
    to += 32;
  }
  for (; i < count; i++) {
    const bits = i32x4.splat(<i32>load<u16>(from));
    store<f32>(to, f32x4.extract_lane(f32x4.mul(evenHalves(bits), scale), 0));
    from += 2;
    to += 4;
  }
}

function writeRow(from: usize, to: usize, count: i32): void {
  if (isHalf()) narrowRow(from, to, count);
  else memory.copy(to, from, (<usize>count) << 2);
}

function readRow(from: usize, to: usize, count: i32): void {
  if (isHalf()) widenRow(from, to, count);
  else memory.copy(to, from, (<usize>count) << 2);
}

/** Writes staged keys and values [count, K * Dh] to the staged slots. */
export function writeRows(count: i32): void {
  const width = headDim();
  const heads = numKvHeads();
  let from: usize = 0;
  for (let row = 0; row < count; row++) {
    const slot = load<i32>(rowLengths() + ((<usize>row) << 2));
    for (let head = 0; head < heads; head++) {
      const to = keysAt(slot, head);
      writeRow(firstStaging() + from, to, width);
      writeRow(secondStaging() + from, to + blockBytes(), width);
      from += (<usize>width) << 2;
    }
  }
}

/** Copies slots: `count` staged sources, followed by as many targets. */
export function copyRows(count: i32): void {
  const heads = numKvHeads();
  for (let row = 0; row < count; row++) {
    const source = load<i32>(tables() + ((<usize>row) << 2));
    const target = load<i32>(tables() + ((<usize>(count + row)) << 2));
    for (let head = 0; head < heads; head++) {
      const from = keysAt(source, head);
      const to = keysAt(target, head);
      memory.copy(to, from, rowBytes());
      memory.copy(to + blockBytes(), from + blockBytes(), rowBytes());
    }
  }
}

/** Reads positions [start, end) of one head by the staged table into the staging areas, as f32. */
export function readRows(head: i32, start: i32, end: i32): void {
  const width = headDim();
  let to: usize = 0;
  for (let position = start; position < end; position++) {
    const page = load<i32>(tables() + ((<usize>(position / pageSize())) << 2));
    const from = blockOf(page, head) + <usize>(position % pageSize()) * rowBytes();
    readRow(from, firstStaging() + to, width);
    readRow(from + blockBytes(), secondStaging() + to, width);
    to += (<usize>width) << 2;
  }
}
