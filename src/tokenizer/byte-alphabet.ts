/**
 * The printable alphabet of byte-level tokenizers: one character for each of the 256 bytes.
 *
 * Bytes that print in Latin-1 stand for themselves; the other 68 take the characters from U+0100
 * upwards, in byte order (a space is `Ġ`). Knows nothing of vocabularies or merges.
 * Source: GPT-2, `bytes_to_unicode`.
 */

const isPrintable = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

function buildAlphabet(): string[] {
  let nextSubstitute = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : nextSubstitute++),
  );
}

/** Character of each byte, index = byte value 0..255. */
export const BYTE_ALPHABET: readonly string[] = buildAlphabet();

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  BYTE_ALPHABET.map((character, byte) => [character, byte]),
);

/** Spells the UTF-8 bytes of `text` in the byte alphabet. Lone surrogates become U+FFFD. */
export function toByteAlphabet(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => BYTE_ALPHABET[byte]).join('');
}

/** Bytes that `token` spells in the byte alphabet, or `undefined` when it uses other characters. */
export function fromByteAlphabet(token: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
