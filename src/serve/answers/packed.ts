/** Numbers as base64, which trainers read faster than JSON. */
import type { WirePacked } from '../wire/trainers.js';

/** Small numbers by token as bytes, as what mixtures of experts did is told; `values` are 0 to 255. */
export function packed(values: readonly number[], start = 0): WirePacked {
  const data = base64OfNumbers(Uint8Array.from(values));
  return { data, shape: [values.length], start, dtype: 'uint8' };
}

/** The bytes of an array as they lie in memory: little-endian wherever looplm runs. */
export function base64OfNumbers({ buffer }: Uint8Array | Float32Array | Int32Array): string {
  let text = '';
  for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}
