/**
 * The work of a conversion as data: which rows of which tensor go where.
 *
 * Large tensors are cut by rows, so that threads share them and memory does not grow with them. It
 * reads and writes nothing.
 */
import { join } from 'node:path';
import type {
  ModelFormat,
  OpenCheckpoint,
  ParameterSpec,
  TensorLocation,
} from '../../../model/index.js';
import {
  convertedLayout,
  convertedParameters,
  elementCount,
  formatOf,
  scalesName,
} from '../../../model/index.js';
import type { SafetensorsEntry, SafetensorsLayout } from '../../../util/safetensors.js';
import type { Piece } from './piece.js';

/** Everything that will be written to the weight file. */
export interface ConversionPlan {
  readonly layout: SafetensorsLayout;
  readonly parameters: readonly ParameterSpec[];
  readonly pieces: readonly Piece[];
}

/** Most values of a piece: some tens of megabytes while it is worked on. */
const MAX_PIECE_VALUES = 2 ** 22;

const EMBEDDING = 'model.embed_tokens.weight';

/** @param folder - of the checkpoint. */
export function planConversion(
  folder: string,
  { config, locations }: Pick<OpenCheckpoint, 'config' | 'locations'>,
  format: ModelFormat,
): ConversionPlan {
  const layout = convertedLayout(config, format);
  const entries = new Map(layout.entries.map((entry) => [entry.name, entry]));
  const parameters = convertedParameters(config);
  const pieces = parameters.flatMap((spec) => {
    const location = locations.get(spec.hfName) ?? locations.get(EMBEDDING)!; // of a tied head
    return cut(spec, join(folder, location.file), location, entries, format);
  });
  return { layout, parameters, pieces: pieces.map((piece, index) => ({ ...piece, index })) };
}

function cut(
  spec: ParameterSpec,
  path: string,
  { dtype, byteOffset }: TensorLocation,
  entries: ReadonlyMap<string, SafetensorsEntry>,
  model: ModelFormat,
): Omit<Piece, 'index'>[] {
  const { hfName: name, shape } = spec;
  const columns = shape.at(-1)!;
  const numRows = elementCount(shape) / columns;
  const rowsOfPiece = Math.max(1, Math.floor(MAX_PIECE_VALUES / columns));
  const format = formatOf(spec, model);
  return Array.from(
    { length: Math.ceil(numRows / rowsOfPiece) },
    (_, index): Omit<Piece, 'index'> => {
      const firstRow = index * rowsOfPiece;
      const rows = Math.min(rowsOfPiece, numRows - firstRow);
      const range = (tensorName: string) => {
        const entry = entries.get(tensorName)!;
        const rowBytes = entry.byteLength / numRows;
        return { byteOffset: entry.byteOffset + firstRow * rowBytes, byteLength: rows * rowBytes };
      };
      const valueBytes = dtype === 'f32' ? 4 : 2;
      const source = { path, dtype, byteOffset: byteOffset + firstRow * columns * valueBytes };
      const target =
        format.kind === 'float'
          ? { dtype: format.dtype, ...range(name) }
          : { format, packed: range(name), scales: range(scalesName(name)) };
      return { name, rows, columns, source, target };
    },
  );
}
