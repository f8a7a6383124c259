/**
 * Text to token ids and back. Public names of the folder.
 *
 * Byte-level tokenizers of the Hugging Face format, incremental decoding and chat templates. Knows
 * nothing of models, files or devices: JSON values come in, strings and ids go out.
 */

export { BYTE_ALPHABET, fromByteAlphabet, toByteAlphabet } from './byte-alphabet.js';
