/**
 * From tokens to the text that a user sees: the text of one sequence, stop strings, and the files of a
 * model folder that are about text. Computes nothing.
 */
export type {
  SequenceTextOptions,
  TextEvent,
  TextFinishEvent,
  TextTokenEvent,
} from './sequence-text.js';
export { SequenceText } from './sequence-text.js';
export type { StopOutcome } from './stop-strings.js';
export { StopStringMatcher } from './stop-strings.js';
export type { ToolCall } from './tool-calls.js';
export { ToolCallSplitter } from './tool-calls.js';
export type { TextFiles } from './text-files.js';
export {
  GENERATION_CONFIG_FILE,
  loadTextFiles,
  loadTokenizer,
  stopTokenNotesOf,
  stopTokensOf,
} from './text-files.js';
