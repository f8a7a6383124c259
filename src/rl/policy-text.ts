/** Prompts as token ids, by the files of the model that answers them. */
import type { LoopLMConfig } from '../model/index.js';
import { ConfigError } from '../errors.js';
import type { TextFiles } from '../text/index.js';
import { stopTokensOf } from '../text/index.js';
import type { ChatMessage } from '../tokenizer/index.js';
import { turnEndId } from '../tokenizer/index.js';
import type { PolicyText } from './rollouts.js';

/**
 * The text side of a model with these files. An answer ends where the files say; to a conversation also at
 * the end of a turn.
 */
export function policyTextOf(
  files: TextFiles,
  config: Pick<LoopLMConfig, 'vocabSize' | 'eosTokenIds'>,
): PolicyText {
  const { tokenizer, chatTemplate } = files;
  const turnEnd = tokenizer && chatTemplate && turnEndId(chatTemplate, tokenizer);
  const stopIds = stopTokensOf(files, config).map(({ id }) => id);
  return {
    tokenizer,
    stopIds: turnEnd === undefined ? stopIds : [...new Set([...stopIds, turnEnd])],
    encode(prompt) {
      if (isTokenIds(prompt)) return prompt;
      if (!tokenizer) throw lacking('text, and the model has no tokenizer', 'token ids');
      if (typeof prompt === 'string') return tokenizer.encode(prompt);
      if (!chatTemplate) throw lacking('messages, and the model has no chat template', 'text');
      return tokenizer.encode(chatTemplate.apply(prompt, { addGenerationPrompt: true }));
    },
  };
}

const isTokenIds = (
  prompt: string | readonly ChatMessage[] | readonly number[],
): prompt is readonly number[] =>
  typeof prompt !== 'string' && prompt.every((item) => typeof item === 'number');

const lacking = (what: string, instead: string) =>
  new ConfigError('prompt', `A prompt of the task is ${what}; give ${instead}, or add the file.`);
