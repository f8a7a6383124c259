/**
 * Text to token ids and back. Public names of the folder.
 *
 * BPE tokenizers over bytes in the Hugging Face format, incremental decoding and chat templates. Knows
 * nothing of models, files or devices: JSON values come in, strings and ids go out.
 */

export { BYTE_ALPHABET, fromByteAlphabet, toByteAlphabet } from './byte-alphabet.js';
export type { ByteLevelParts } from './byte-level-json.js';
export { byteLevelTokenizerJson } from './byte-level-json.js';
export { CHATML_TEMPLATES, ChatTemplate } from './chat-template.js';
export type { ChatMessage, ChatTemplateOptions, ToolCall } from './chat-template.js';
export { DecodeStream } from './decode-stream.js';
export { parseGenerationConfig, withSamplingDefaults } from './generation-config.js';
export type { GenerationConfig, SamplingDefaults } from './generation-config.js';
export { ReasoningSplitter, THINK_TAGS, isThinkingName, opensThinking } from './reasoning.js';
export type { SplitText, TextChannel } from './reasoning.js';
export { stopTokenNotes, stopTokens, turnEndId } from './stop-tokens.js';
export type { StopToken, StopTokenFiles, StopTokenSource } from './stop-tokens.js';
export {
  CHATML_TOKENS,
  MIN_SYNTHETIC_VOCAB,
  chatmlTokenizerConfig,
  syntheticTokenizerFiles,
} from './synthetic.js';
export { Tokenizer } from './tokenizer.js';
export type { DecodeOptions, EncodeOptions } from './tokenizer.js';
export { TokenizerTrainer } from './training/trainer.js';
export type { TokenizerTrainerOptions } from './training/trainer.js';
export { parseTokenizerConfig } from './tokenizer-config.js';
export type { TokenizerConfig } from './tokenizer-config.js';
