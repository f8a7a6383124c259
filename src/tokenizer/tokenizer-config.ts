/**
 * Reads the parts of a Hugging Face tokenizer_config.json that looplm uses.
 *
 * The file names the special tokens by role and may carry the chat template; everything else in it
 * describes the Python classes and is left alone. Source: transformers, `PreTrainedTokenizerBase`.
 */

import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { describeIssue } from './parse.js';

/** A tokenizer_config.json, reduced to what looplm uses; absent roles are `undefined`. */
export type TokenizerConfig = {
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  readonly padToken?: string | undefined;
  readonly unkToken?: string | undefined;
  /** Jinja source of the chat template; of several named ones, the one named `default`. */
  readonly chatTemplate?: string | undefined;
};

const specialTokenSchema = z
  .union([z.string(), z.looseObject({ content: z.string() })])
  .nullish()
  .transform((token) => (typeof token === 'string' ? token : token?.content));

const chatTemplateSchema = z
  .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
  .nullish()
  .transform((template) =>
    Array.isArray(template)
      ? template.find(({ name }) => name === 'default')?.template
      : (template ?? undefined),
  );

const tokenizerConfigSchema = z.looseObject({
  bos_token: specialTokenSchema,
  eos_token: specialTokenSchema,
  pad_token: specialTokenSchema,
  unk_token: specialTokenSchema,
  chat_template: chatTemplateSchema,
});

/**
 * Reads the parsed content of a tokenizer_config.json.
 *
 * @throws ConfigError if a special token or the chat template has the wrong type.
 */
export function parseTokenizerConfig(value: unknown): TokenizerConfig {
  const result = tokenizerConfigSchema.safeParse(value);
  if (!result.success) {
    const { path, problem } = describeIssue(result.error);
    throw new ConfigError(
      path,
      `tokenizer_config.json, ${path}: ${problem}. Give the tokenizer_config.json of the model.`,
    );
  }
  return {
    bosToken: result.data.bos_token,
    eosToken: result.data.eos_token,
    padToken: result.data.pad_token,
    unkToken: result.data.unk_token,
    chatTemplate: result.data.chat_template,
  };
}
