/**
 * Rows in and out of the pages: writing new keys and values, copying between slots, reading back.
 *
 * A slot is page * pageSize + offset. Rows come and go through the staging areas as f32; a stored
 * row of f32 or f16 is 8 dimensions every `chunkStep` bytes.
 */
import {
  blockBytes,
  blockOf,
  chunkAt,
  chunkStep,
  elementBytes,
  firstStaging,
  headDim,
  numKvHeads,
  pageSize,
  rowLengths,
  secondStaging,
  stride,
  tables,
} from './memory';
import { copyInt8Row, readInt8Row, writeInt8Row } from './int8';
import { HALF_SCALE, evenHalves, oddHalves, toHalves } from './numbers';

/** The keys of a head in the page of a slot; its values are `blockBytes` later. */
function slotBlock(slot: i32, head: i32): usize {
  return blockOf(slot / pageSize(), head);
}

/** Stores a plain row of `headDim` numbers at a position of the block `at`. */
function writeRow(from: usize, at: usize, offset: i32, isValue: bool): void {
  if (elementBytes() == 1) {
    writeInt8Row(from, at, offset, isValue);
    return;
  }
  let to = chunkAt(at, offset);
  const half = elementBytes() == 2;
  const end = from + (<usize>headDim() << 2);
  for (; from + 32 <= end; from += 32, to += chunkStep()) {
    const a = v128.load(from);
    const b = v128.load(from, 16);
    if (half) v128.store(to, i16x8.narrow_i32x4_u(toHalves(a), toHalves(b)));
    else {
      v128.store(to, a);
      v128.store(to, b, 16);
    }
  }
  for (; from < end; from += 4, to += half ? 2 : 4) {
    const x = load<f32>(from);
    if (half) store<u16>(to, <u16>i32x4.extract_lane(toHalves(f32x4.splat(x)), 0));
    else store<f32>(to, x);
  }
}

/** Reads the row at a position of the block `at` as `headDim` plain numbers. */
function readRow(at: usize, offset: i32, isValue: bool, to: usize): void {
  if (elementBytes() == 1) {
    readInt8Row(at, offset, isValue, to);
    return;
  }
  let from = chunkAt(at, offset);
  const half = elementBytes() == 2;
  const scale = f32x4.splat(HALF_SCALE);
  const end = to + (<usize>headDim() << 2);
  for (; to + 32 <= end; to += 32, from += chunkStep()) {
    let a = v128.load(from);
    let b = a;
    if (!half) b = v128.load(from, 16);
    else {
      const even = f32x4.mul(evenHalves(a), scale);
      const odd = f32x4.mul(oddHalves(a), scale);
      a = v128.shuffle<f32>(even, odd, 0, 4, 1, 5);
      b = v128.shuffle<f32>(even, odd, 2, 6, 3, 7);
    }
    v128.store(to, a);
    v128.store(to, b, 16);
  }
  for (; to < end; to += 4, from += half ? 2 : 4) {
    const bits = half ? <i32>load<u16>(from) : 0;
    const wide = f32x4.mul(evenHalves(i32x4.splat(bits)), scale);
    store<f32>(to, half ? f32x4.extract_lane(wide, 0) : load<f32>(from));
  }
}

/** Copies the row at the position of one slot to that of another; both blocks are keys, or values. */
function copyRow(fromAt: usize, source: i32, toAt: usize, target: i32, isValue: bool): void {
  if (elementBytes() == 1) {
    copyInt8Row(fromAt, source % pageSize(), toAt, target % pageSize(), isValue);
    return;
  }
  let from = chunkAt(fromAt, source % pageSize());
  let to = chunkAt(toAt, target % pageSize());
  for (let d = 0; d < stride(); d += 8) {
    v128.store(to, v128.load(from));
    if (elementBytes() == 4) v128.store(to, v128.load(from, 16), 16);
    from += chunkStep();
    to += chunkStep();
  }
}

/** Writes staged keys and values [count, K * Dh] to the staged slots. */
export function writeRows(count: i32): void {
  let from: usize = 0;
  for (let row = 0; row < count; row++) {
    const slot = load<i32>(rowLengths() + (<usize>row << 2));
    for (let head = 0; head < numKvHeads(); head++) {
      const at = slotBlock(slot, head);
      writeRow(firstStaging() + from, at, slot % pageSize(), false);
      writeRow(secondStaging() + from, at + blockBytes(), slot % pageSize(), true);
      from += <usize>headDim() << 2;
    }
  }
}

/** Copies slots: `count` staged sources, followed by as many targets. */
export function copyRows(count: i32): void {
  for (let row = 0; row < count; row++) {
    const source = load<i32>(tables() + (<usize>row << 2));
    const target = load<i32>(tables() + (<usize>(count + row) << 2));
    for (let head = 0; head < numKvHeads(); head++) {
      const from = slotBlock(source, head);
      const to = slotBlock(target, head);
      copyRow(from, source, to, target, false);
      copyRow(from + blockBytes(), source, to + blockBytes(), target, true);
    }
  }
}

/** Reads positions [start, end) of one head by the staged table into the staging areas, as f32. */
export function readRows(head: i32, start: i32, end: i32): void {
  let to: usize = 0;
  for (let position = start; position < end; position++) {
    const page = load<i32>(tables() + (<usize>(position / pageSize()) << 2));
    const offset = position % pageSize();
    const at = blockOf(page, head);
    readRow(at, offset, false, firstStaging() + to);
    readRow(at + blockBytes(), offset, true, secondStaging() + to);
    to += <usize>headDim() << 2;
  }
}
