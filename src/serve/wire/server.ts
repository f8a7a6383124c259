/** Routes about the server and its tokenizer: bodies and answers. */
import { z } from 'zod';
import { KV_POLICIES } from '../../engine/index.js';
import { field, flag, identityFields, text, tokenIds } from './fields.js';

export const errorSchema = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

export const modelSchema = z.strictObject({
  id: z.string(),
  object: z.literal('model'),
  created: z.int(),
  owned_by: z.literal('looplm'),
  max_model_len: z.int().describe('Tokens of prompt and answer together.'),
  num_loops: z.int(),
  has_exit_gate: z.boolean(),
  exit_policy: z.string().describe('What a request without exit_policy gets.'),
  kv_policies: z.array(z.enum(KV_POLICIES)),
  has_chat_template: z.boolean(),
  has_reasoning: z.boolean().describe('Whether answers begin with reasoning by default.'),
  examples: z.array(z.string()).optional(),
});

export const modelListSchema = z.strictObject({
  object: z.literal('list'),
  data: z.array(modelSchema),
});

export const tokenizeBodySchema = z.strictObject({
  ...identityFields,
  prompt: text.describe('The text.'),
  add_special_tokens: field(
    flag,
    'Adds tokens such as one for the beginning; default false, as prompts are read.',
  ),
  return_token_strs: field(flag, 'Adds the text of every token.'),
});

export const tokenizeSchema = z.strictObject({
  tokens: z.array(z.int()),
  count: z.int(),
  max_model_len: z.int(),
  token_strs: z.array(z.string()).optional(),
});

export const detokenizeBodySchema = z.strictObject({
  ...identityFields,
  tokens: tokenIds.describe('Token ids.'),
});

export const detokenizeSchema = z.strictObject({ prompt: z.string() });

export const tokenizerInfoSchema = z.strictObject({
  vocab_size: z.int(),
  bos_token: z.string().nullable(),
  eos_token: z.string().nullable(),
  pad_token: z.string().nullable(),
  unk_token: z.string().nullable(),
  chat_template: z.string().nullable(),
});

export const statusSchema = z.strictObject({ status: z.string() });
export const versionSchema = z.strictObject({ version: z.string() });

export type WireModel = z.infer<typeof modelSchema>;
