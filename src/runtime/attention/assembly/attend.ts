/**
 * Attention of one layer: a job is cut into items, and threads take items until none is left.
 *
 * An item is some kv heads of one group. It walks the group's pages in order and serves its heads
 * within each page, so memory is read front to back. Which thread takes an item changes nothing in
 * its numbers.
 */
import {
  GROUP_WORDS,
  MAX_TILE,
  PENDING,
  SCORE_BYTES,
  TICKETS,
  blockBytes,
  blockOf,
  elementBytes,
  firstStaging,
  groupTable,
  headDim,
  headsPerItem,
  itemsPerGroup,
  numHeads,
  numKvHeads,
  pageSize,
  rowBytes,
  rowLengths,
  scoresOf,
  secondStaging,
  setJob,
  softmaxState,
  stride,
  sums,
  tables,
} from './memory';
import { attendInt8Page, stageInt8Query } from './int8';
import { HALF_SCALE } from './numbers';
import { scoresOfTile, valuesOfTile, weigh } from './tile';

/** Looks at the count of pending items before the caller goes to sleep: about 20 microseconds. */
const SPINS: i32 = 20000;
const LOG2_E: f64 = 1.4426950408889634;

/** Opens a job on the staged queries, lengths, groups and tables, for all threads. */
export function publish(numGroups: i32, headsPerItem: i32): void {
  const count = setJob(numGroups, headsPerItem);
  atomic.store<i32>(PENDING, count);
  atomic.store<i32>(TICKETS, count);
}

/**
 * Works on items of the open job until none is left. Tickets count down, so that whether a drawn one
 * is valid depends on nothing else: a thread that comes late may draw from the next job, whose
 * description is then complete, or nothing.
 */
export function work(thread: i32): void {
  for (;;) {
    const item = atomic.sub<i32>(TICKETS, 1) - 1;
    if (item < 0) return;
    const group = item / itemsPerGroup();
    const firstHead = (item % itemsPerGroup()) * headsPerItem();
    const endHead = min<i32>(firstHead + headsPerItem(), numKvHeads());
    if (elementBytes() == 1) attendItem<i8>(group, firstHead, endHead, thread);
    else if (elementBytes() == 2) attendItem<u16>(group, firstHead, endHead, thread);
    else attendItem<f32>(group, firstHead, endHead, thread);
    if (atomic.sub<i32>(PENDING, 1) == 1) atomic.notify(PENDING, 1);
  }
}

/** Returns when every item of the job is complete. */
export function finish(): void {
  for (let i = 0; i < SPINS; i++) {
    if (atomic.load<i32>(PENDING) == 0) return;
  }
  for (;;) {
    const pending = atomic.load<i32>(PENDING);
    if (pending == 0) return;
    atomic.wait<i32>(PENDING, pending, -1);
  }
}

/** The next tile of `count` vectors that are left; a kernel for integers has only single ones. */
// @ts-ignore: decorator
@inline
function tileOf<T>(count: i32): i32 {
  if (sizeof<T>() == 1) return 1;
  return count >= MAX_TILE ? MAX_TILE : count >= 2 ? 2 : 1;
}

function attendItem<T>(group: i32, firstHead: i32, endHead: i32, thread: i32): void {
  const description = groupTable() + 4 * GROUP_WORDS * <usize>group;
  const firstRow = load<i32>(description);
  const numRows = load<i32>(description, 4);
  const table = tables() + (<usize>load<i32>(description, 8) << 2);
  const perRow = numHeads() / numKvHeads();
  const count = numRows * perRow; // vectors of one kv head
  const lengths = rowLengths() + (<usize>firstRow << 2);
  let longest = 0;
  for (let row = 0; row < numRows; row++) {
    longest = max<i32>(longest, load<i32>(lengths + (<usize>row << 2)));
  }
  for (let head = firstHead; head < endHead; head++) {
    stageQueries<T>(firstRow, head, count, perRow);
  }
  const size = pageSize();
  for (let start = 0, page = table; start < longest; start += size, page += 4) {
    const left = longest - start;
    for (let head = firstHead; head < endHead; head++) {
      const keys = blockOf(load<i32>(page), head);
      const vector = firstRow * numHeads() + head * count;
      const visible = min<i32>(left, size);
      if (sizeof<T>() == 1) {
        attendInt8Page(keys, vector, count, perRow, lengths, start, visible, thread);
      } else attendPage<T>(keys, vector, count, perRow, lengths, start, visible, thread);
    }
  }
  for (let head = firstHead; head < endHead; head++) {
    unstageSums<T>(firstRow, head, count, perRow);
  }
}

/** All query vectors of one kv head against one page, of which the longest row sees `visible`. */
function attendPage<T>(
  keys: usize,
  firstVector: i32,
  count: i32,
  perRow: i32,
  lengths: usize,
  start: i32,
  visible: i32,
  thread: i32,
): void {
  const row = rowBytes();
  const vectorBytes = <usize>stride() << 2;
  const scores = scoresOf(thread);
  const rounded = (visible + 3) & ~3;
  const scale: f32 = sizeof<T>() == 2 ? HALF_SCALE : 1;
  for (let done = 0, tile = 0; done < count; done += tile) {
    tile = tileOf<T>(count - done);
    const vector = <usize>(firstVector + done);
    const sum = sums() + vector * vectorBytes;
    const sumEnd = sum + <usize>tile * vectorBytes;
    const q = secondStaging() + vector * vectorBytes;
    scoresOfTile<T>(tile, q, q + (sumEnd - sum), keys, rounded, scores);
    for (let i = 0; i < tile; i++) {
      const length = load<i32>(lengths + (<usize>((done + i) / perRow) << 2));
      weigh(
        scores + <usize>i * SCORE_BYTES,
        max<i32>(0, min<i32>(length - start, visible)),
        rounded,
        softmaxState() + ((vector + i) << 3),
        sum + (<usize>i << 5),
        sumEnd,
        tile,
        scale,
      );
    }
    valuesOfTile<T>(tile, keys + blockBytes(), row, visible, scores, sum, sumEnd);
  }
}

/** Address of a vector's queries, and later of its result, in the first staging area. */
// @ts-ignore: decorator
@inline
function plainVector(firstRow: i32, head: i32, index: i32, perRow: i32): usize {
  const row = firstRow + index / perRow;
  const queryHead = head * perRow + (index % perRow);
  return firstStaging() + (<usize>(row * numHeads() + queryHead) * headDim() << 2);
}

/** Offset of dimension `d` in an interleaved vector of a tile; of integers as it was. */
// @ts-ignore: decorator
@inline
function interleaved<T>(d: i32, tile: i32): usize {
  if (sizeof<T>() == 1) return <usize>d << 2;
  const lane = sizeof<T>() == 2 ? ((d & 1) << 2) | ((d & 7) >> 1) : d & 7;
  return (<usize>((d >> 3) * tile) << 5) + (<usize>lane << 2);
}

/** Brings one kv head's queries into the order of the tiles, scaled; clears sums and state. */
function stageQueries<T>(firstRow: i32, head: i32, count: i32, perRow: i32): void {
  const width = headDim();
  const vectorBytes = <usize>stride() << 2;
  const first = <usize>(firstRow * numHeads() + head * count);
  const logarithmic = <f32>(LOG2_E / Math.sqrt(<f64>width));
  const scale = logarithmic * (sizeof<T>() == 2 ? HALF_SCALE : <f32>1);
  memory.fill(secondStaging() + first * vectorBytes, 0, <usize>count * vectorBytes);
  memory.fill(sums() + first * vectorBytes, 0, <usize>count * vectorBytes);
  for (let done = 0, tile = 0; done < count; done += tile) {
    tile = tileOf<T>(count - done);
    for (let i = 0; i < tile; i++) {
      const from = plainVector(firstRow, head, done + i, perRow);
      const to = secondStaging() + (first + done) * vectorBytes + (<usize>i << 5);
      if (sizeof<T>() == 1) stageInt8Query(from, to, scale);
      else {
        for (let d = 0; d < width; d++) {
          const value = load<f32>(from + (<usize>d << 2)) * scale;
          store<f32>(to + interleaved<T>(d, tile), value);
        }
      }
      const state = softmaxState() + ((first + done + i) << 3);
      store<f32>(state, -Infinity);
      store<f32>(state, 0, 4);
    }
  }
}

/** Divides one kv head's sums by the sums of their weights and puts them where the queries were. */
function unstageSums<T>(firstRow: i32, head: i32, count: i32, perRow: i32): void {
  const width = headDim();
  const vectorBytes = <usize>stride() << 2;
  const first = <usize>(firstRow * numHeads() + head * count);
  for (let done = 0, tile = 0; done < count; done += tile) {
    tile = tileOf<T>(count - done);
    for (let i = 0; i < tile; i++) {
      const to = plainVector(firstRow, head, done + i, perRow);
      const from = sums() + (first + done) * vectorBytes + (<usize>i << 5);
      const total = load<f32>(softmaxState() + ((first + done + i) << 3), 4);
      for (let d = 0; d < width; d++) {
        store<f32>(to + (<usize>d << 2), load<f32>(from + interleaved<T>(d, tile)) / total);
      }
    }
  }
}
