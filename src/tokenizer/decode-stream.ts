/**
 * Token ids to text, one token at a time.
 *
 * A token may end inside a UTF-8 sequence; its bytes wait until the character is complete, so every
 * piece is final when it is returned. Knows bytes of tokens, nothing of vocabularies.
 */

/** Turns the bytes of successive tokens into text that is already certain. */
export class DecodeStream {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  /** @param bytesOf - Bytes that a token stands for; empty for a token that prints nothing. */
  constructor(bytesOf: (id: number) => Uint8Array) {
    this.#bytesOf = bytesOf;
  }

  /**
   * Takes the next token and returns the text that has become certain, possibly empty. U+FFFD
   * appears only for bytes that no later token can complete.
   *
   * @throws RequestError if the vocabulary lacks the id.
   */
  push(id: number): string {
    return this.#decoder.decode(this.#bytesOf(id), { stream: true });
  }

  /**
   * Ends the text: returns U+FFFD if it stops inside a character, else an empty string. All pieces
   * together equal the decoding of all ids at once. The stream is then ready for a new text.
   */
  flush(): string {
    return this.#decoder.decode();
  }
}
