/**
 * How the matrices of a model are stored, by the words of flags and settings: model files have them,
 * devices say which they multiply with.
 */

/** Floats, or integers of 4 or 8 bits in blocks with a scale each. */
export const MATRIX_DTYPES = ['q4', 'q8', 'f16', 'f32'] as const;
export type MatrixDtype = (typeof MATRIX_DTYPES)[number];
