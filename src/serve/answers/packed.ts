/** Small numbers by token as bytes, as trainers take what mixtures of experts did. */
import type { WirePacked } from '../wire/trainers.js';

/** @param values - 0 to 255 */
export function packed(values: readonly number[], start = 0): WirePacked {
  const bytes = String.fromCharCode(...values);
  return { data: btoa(bytes), shape: [values.length], start, dtype: 'uint8' };
}
