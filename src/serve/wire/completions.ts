/** `POST /v1/completions`: body and answer. */
import { z } from 'zod';
import type { Given } from './fields.js';
import {
  MAX_TOP_LOGPROBS,
  asTokenIds,
  depthFields,
  field,
  flag,
  identityFields,
  only,
  outputFields,
  samplingFields,
  stopFields,
  text,
  tokenIds,
  whole,
} from './fields.js';
import { completionLogprobsSchema, promptLogprobsSchema } from './logprobs.js';
import { usageSchema } from './usage.js';

/** Distillation asks for many. */
const MAX_PROMPT_LOGPROBS = 1024;

const PROMPT_RULE =
  'it must be a text, a list of token ids, or a list of texts or of lists of token ids.';

export const completionBodySchema = z.strictObject({
  ...identityFields,
  prompt: z
    .union([text, tokenIds, z.array(text).min(1), z.array(tokenIds).min(1)], PROMPT_RULE)
    .describe('What to continue: one or many, as text or as token ids.'),
  max_tokens: field(
    whole(0),
    'New tokens at most, default 16; the context ends an answer in any case. 0 only with echo.',
  ),
  echo: field(flag, 'Puts the prompt before the answer, and with logprobs its log-probabilities.'),
  logprobs: field(
    whole(0, MAX_TOP_LOGPROBS),
    'Tells the log-probability of every token, and so many most likely ones.',
  ),
  prompt_logprobs: field(
    whole(0, MAX_PROMPT_LOGPROBS),
    'Scores the prompt: every token of it, and so many most likely ones, by token id.',
  ),
  return_tokens_as_token_ids: asTokenIds,
  best_of: field(only(1, 'use n for more choices.'), 'Only 1.'),
  ...outputFields,
  ...samplingFields,
  ...stopFields,
  ...depthFields,
});

const finishReason = z.enum(['stop', 'length', 'abort']);

const choiceSchema = z.strictObject({
  index: z.int(),
  text: z.string(),
  logprobs: completionLogprobsSchema.nullable(),
  finish_reason: finishReason.nullable(),
  stop_reason: z
    .union([z.string(), z.int()])
    .nullable()
    .describe('The stop string or stop token id that ended the answer.'),
  prompt_logprobs: promptLogprobsSchema.optional(),
  prompt_token_ids: z.array(z.int()).optional(),
  token_ids: z.array(z.int()).optional(),
  rollout: z.record(z.string(), z.unknown()).optional(),
});

export const completionSchema = z.strictObject({
  id: z.string(),
  object: z.literal('text_completion'),
  created: z.int(),
  model: z.string(),
  choices: z.array(choiceSchema),
  usage: usageSchema.nullish(),
});

export type CompletionBody = Given<z.infer<typeof completionBodySchema>>;
export type WireCompletion = z.infer<typeof completionSchema>;
export type WireCompletionChoice = z.infer<typeof choiceSchema>;
