/**
 * Text to token ids and back. Public names of the folder.
 *
 * Byte-level tokenizers of the Hugging Face format, incremental decoding and chat templates. Knows
 * nothing of models, files or devices: JSON values come in, strings and ids go out.
 */

export { BYTE_ALPHABET, fromByteAlphabet, toByteAlphabet } from './byte-alphabet.js';
export { CHATML_TEMPLATES, ChatTemplate } from './chat-template.js';
export type { ChatMessage, ChatTemplateOptions } from './chat-template.js';
export { DecodeStream } from './decode-stream.js';
export { Tokenizer } from './tokenizer.js';
export type { DecodeOptions, EncodeOptions } from './tokenizer.js';
export { parseTokenizerConfig } from './tokenizer-config.js';
export type { TokenizerConfig } from './tokenizer-config.js';
