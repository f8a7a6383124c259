/**
 * Which documents share a row.
 *
 * The one idea: longest first, each into the fullest row that still has room for all of it, so that
 * next to nothing is padding and no document is cut that fits a row. Longer ones are cut into whole
 * rows and a rest. As documents of a row do not see each other, who shares one is no matter.
 * Source: best-fit packing of Ding et al. 2024, "Fewer truncations improve language modeling".
 */

/** A stretch of a document in a row. */
export interface RowPiece {
  readonly document: number;
  /** Its first position in the document, and how many there are. */
  readonly first: number;
  readonly positions: number;
}

/** The rows of a list of documents: every position of every document is in one of them, once. */
export interface RowPlan {
  readonly numRows: number;
  /** What stands in a row, in order; together at most as long as a row. */
  piecesOf(row: number): readonly RowPiece[];
}

/**
 * @param lengths - positions of each document; those of 0 are in no row.
 * @param length - positions of a row.
 */
export function planRows(lengths: ArrayLike<number>, length: number): RowPlan {
  const pieceDocument: number[] = [];
  const pieceFirst: number[] = [];
  const pieceNext: number[] = []; // -1 ends a row
  const firstPiece: number[] = []; // of each row
  const add = (document: number, first: number, next: number) => {
    pieceFirst.push(first);
    pieceNext.push(next);
    return pieceDocument.push(document) - 1;
  };
  for (let document = 0; document < lengths.length; document++) {
    for (let first = 0; first + length <= lengths[document]!; first += length) {
      firstPiece.push(add(document, first, -1));
    }
  }
  // Rows by the room they have left, and whether there are any with so much.
  const rowsWith: (number[] | undefined)[] = [];
  const hasRows = new Uint8Array(length + 1);
  for (const document of restsByLength(lengths, length)) {
    const rest = lengths[document]! % length;
    const room = hasRows.indexOf(1, rest);
    const rows = room < 0 ? undefined : rowsWith[room];
    const row = rows?.pop() ?? firstPiece.push(-1) - 1;
    if (rows?.length === 0) hasRows[room] = 0;
    firstPiece[row] = add(document, lengths[document]! - rest, firstPiece[row]!);
    const left = (room < 0 ? length : room) - rest;
    if (left === 0) continue;
    (rowsWith[left] ??= []).push(row);
    hasRows[left] = 1;
  }
  const documents = Uint32Array.from(pieceDocument);
  const firsts = Uint32Array.from(pieceFirst);
  const nexts = Int32Array.from(pieceNext);
  const starts = Int32Array.from(firstPiece);
  return {
    numRows: starts.length,
    piecesOf(row) {
      const pieces: RowPiece[] = [];
      for (let piece = starts[row]!; piece >= 0; piece = nexts[piece]!) {
        const document = documents[piece]!;
        const first = firsts[piece]!;
        pieces.push({ document, first, positions: Math.min(length, lengths[document]! - first) });
      }
      return pieces.toReversed();
    },
  };
}

/** Documents with something left after their whole rows, by how much, the most first. */
function restsByLength(lengths: ArrayLike<number>, length: number): Uint32Array {
  const counts = new Uint32Array(length + 1);
  for (let i = 0; i < lengths.length; i++) counts[length - (lengths[i]! % length)]!++;
  counts[length] = 0; // nothing left
  let total = 0;
  const places = counts.map((count) => (total += count) - count);
  const ordered = new Uint32Array(total);
  for (let i = 0; i < lengths.length; i++) {
    const rest = lengths[i]! % length;
    if (rest > 0) ordered[places[length - rest]!++] = i;
  }
  return ordered;
}
