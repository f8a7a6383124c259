/**
 * Where things lie in a layer's memory: header, staging areas, pages.
 *
 * A page holds `pageSize` positions of every kv head: for each head its keys, then its values. Both
 * are [pageSize / 4, stride / 8, 4, 8]: 8 dimensions of four positions are neighbours, because that
 * is what the kernel takes at a time, so that it reads memory front to back (rows side by side cost a
 * third of the bandwidth). `stride` is the head dimension rounded up to 8; the rest stays zero. In
 * 8 bits the order is another, see `int8.ts`.
 */

/** Items of the job that no thread has drawn, and that are not complete; each in a cache line. */
export const TICKETS: usize = 64;
export const PENDING: usize = 128;

/** Words of the header that `configure` and `publish` write. */
const WORDS: usize = 192;
const enum Word {
  NumHeads,
  NumKvHeads,
  HeadDim,
  PageSize,
  ElementBytes,
  MaxRows,
  TableCapacity,
  ItemsPerGroup,
  HeadsPerItem,
}

/** The header's end. */
const HEADER_BYTES: usize = 256;
/** Dimensions that share a scale in 8 bits. */
export const BLOCK_DIMS: i32 = 32;
/** Words of a group: first row, number of rows, first entry of its table. */
export const GROUP_WORDS: usize = 3;
/** Query vectors that are worked on together, and bytes of one vector's scores in a page. */
export const MAX_TILE: i32 = 4;
export const SCORE_BYTES: usize = 1024;
const MAX_THREADS: usize = 2;

// @ts-ignore: decorator
@inline
function word(index: Word): i32 {
  return load<i32>(WORDS + (<usize>index << 2));
}

// @ts-ignore: decorator
@inline
function setWord(index: Word, value: i32): void {
  store<i32>(WORDS + (<usize>index << 2), value);
}

/**
 * Describes the memory, once, before anything else.
 *
 * @param elementBytes - of keys and values: 4 single precision, 2 half, 1 integers with scales
 */
export function configure(
  numHeads: i32,
  numKvHeads: i32,
  headDim: i32,
  pageSize: i32,
  elementBytes: i32,
  maxRows: i32,
  tableCapacity: i32,
): void {
  setWord(Word.NumHeads, numHeads);
  setWord(Word.NumKvHeads, numKvHeads);
  setWord(Word.HeadDim, headDim);
  setWord(Word.PageSize, pageSize);
  setWord(Word.ElementBytes, elementBytes);
  setWord(Word.MaxRows, maxRows);
  setWord(Word.TableCapacity, tableCapacity);
}

/** Describes a job, see `publish`; returns its number of items. */
export function setJob(numGroups: i32, headsPerItem: i32): i32 {
  const itemsPerGroup = (numKvHeads() + headsPerItem - 1) / headsPerItem;
  setWord(Word.ItemsPerGroup, itemsPerGroup);
  setWord(Word.HeadsPerItem, headsPerItem);
  return numGroups * itemsPerGroup;
}

export function numHeads(): i32 {
  return word(Word.NumHeads);
}
export function numKvHeads(): i32 {
  return word(Word.NumKvHeads);
}
export function headDim(): i32 {
  return word(Word.HeadDim);
}
export function pageSize(): i32 {
  return word(Word.PageSize);
}
export function elementBytes(): i32 {
  return word(Word.ElementBytes);
}
export function itemsPerGroup(): i32 {
  return word(Word.ItemsPerGroup);
}
export function headsPerItem(): i32 {
  return word(Word.HeadsPerItem);
}

/** Elements of a stored row. */
export function stride(): i32 {
  const unit = elementBytes() == 1 ? BLOCK_DIMS : 8;
  return (headDim() + unit - 1) & -unit;
}
/** Bytes that a key, or a value, takes. */
export function rowBytes(): usize {
  const scales = elementBytes() == 1 ? 4 * (stride() / BLOCK_DIMS) : 0;
  return <usize>(stride() * elementBytes() + scales);
}
/** Bytes from 8 dimensions of a row to the next 8, if elements are not integers. */
export function chunkStep(): usize {
  return <usize>elementBytes() << 5;
}
/** Bytes of the keys, or of the values, of one head in one page. */
export function blockBytes(): usize {
  return rowBytes() * pageSize();
}

// Staging areas, one after the other.

/** i32 [maxRows]: positions that each row sees, or slots to write to. */
export function rowLengths(): usize {
  return HEADER_BYTES;
}
/** i32 [maxRows, GROUP_WORDS]. */
export function groupTable(): usize {
  return rowLengths() + 4 * <usize>word(Word.MaxRows);
}
/** i32 [tableCapacity]: the groups' page numbers, or slots to copy. */
export function tables(): usize {
  return groupTable() + 4 * GROUP_WORDS * <usize>word(Word.MaxRows);
}
function areaBytes(): usize {
  return 4 * <usize>(word(Word.MaxRows) * numHeads() * stride());
}
/** f32 [maxRows, H * Dh]: queries, then results in their place; or keys to write. */
export function firstStaging(): usize {
  return (tables() + 4 * <usize>word(Word.TableCapacity) + 63) & ~63;
}
/** f32 [maxRows, H * stride]: queries in the order of the tiles; or values to write. */
export function secondStaging(): usize {
  return firstStaging() + areaBytes();
}
/** f32 [maxRows, H * stride]: weighted sums of values, in the order of the tiles. */
export function sums(): usize {
  return secondStaging() + areaBytes();
}
/** f32 [maxRows * H, 2]: running maximum of the scores and sum of the probabilities. */
export function softmaxState(): usize {
  return sums() + areaBytes();
}
/** f32 [MAX_TILE, SCORE_BYTES / 4] of a thread. */
export function scoresOf(thread: i32): usize {
  const start = softmaxState() + 8 * <usize>(word(Word.MaxRows) * numHeads());
  return ((start + 63) & ~63) + SCORE_BYTES * <usize>(MAX_TILE * thread);
}
/** The first page. */
export function pagesStart(): usize {
  return (scoresOf(<i32>MAX_THREADS) + 4095) & ~4095;
}

/** Keys of a head in a page; its values follow `blockBytes` later. */
// @ts-ignore: decorator
@inline
export function blockOf(page: i32, head: i32): usize {
  return pagesStart() + (<usize>page * numKvHeads() + head) * 2 * blockBytes();
}

/** The first 8 dimensions at a position of a head's keys, or values, if elements are not integers. */
export function chunkAt(block: usize, offset: i32): usize {
  const inFour = <usize>(offset & 3) * (chunkStep() >> 2);
  return block + <usize>(offset & ~3) * rowBytes() + inFour;
}
