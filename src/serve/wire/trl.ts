/**
 * What TRL's server mode sends and reads: the routes of its own server up to 1.8, and what newer versions
 * ask of vLLM's configuration.
 * Source: trl/generation/vllm_client.py and trl/scripts/vllm_serve.py of 0.24, 0.29, 1.8 and 1.16.
 */
import { z } from 'zod';
import type { Given } from './fields.js';
import { messageSchema, toolSchema } from './chat.js';
import {
  field,
  oneOf,
  samplingFields,
  stopFields,
  templateFields,
  text,
  tokenIds,
  whole,
} from './fields.js';
import { MAX_ALTERNATIVES, numbers, trainerDepths } from './trainers.js';

const NOT_HELD = 'answers are not held to a pattern.';

const trlSampling = {
  n: field(whole(1, 128), 'Answers for each prompt.'),
  repetition_penalty: samplingFields.repetition_penalty,
  temperature: samplingFields.temperature,
  top_p: samplingFields.top_p,
  top_k: samplingFields.top_k,
  min_p: samplingFields.min_p,
  max_tokens: field(whole(1), 'New tokens at most; default 16.'),
  logprobs: field(whole(0, MAX_ALTERNATIVES), 'So many most likely tokens besides; default 0.'),
  generation_kwargs: field(
    z.strictObject(
      { ...samplingFields, ...stopFields, ...trainerDepths },
      'it must be an object of fields of this server.',
    ),
    'More settings.',
  ),
  // TRL sends these as null
  structured_outputs_regex: field(z.null(`it must be null: ${NOT_HELD}`), 'Only null.'),
  guided_decoding_regex: field(z.null(`it must be null: ${NOT_HELD}`), 'Only null.'),
};

export const trlGenerateBodySchema = z.strictObject({
  prompts: z
    .array(z.union([text, tokenIds], 'it must be a text or a list of token ids.'))
    .min(1, 'it must have one entry at least.'),
  truncate_prompt_tokens: field(whole(1), 'Keeps so many last tokens of every prompt.'),
  images: field(z.null('it must be null: the model reads text.'), 'Only null.'),
  ...trlSampling,
});

export const trlChatBodySchema = z.strictObject({
  messages: z
    .array(z.array(messageSchema).min(1), 'it must be a list of conversations.')
    .min(1, 'it must have one conversation at least.'),
  tools: field(z.array(toolSchema, 'it must be a list of tools.'), 'Shown to the model.'),
  truncate_prompt_tokens: field(whole(1), 'Keeps so many last tokens of every prompt.'),
  ...templateFields,
  ...trlSampling,
});

export const trlGenerateSchema = z.strictObject({
  prompt_ids: z.array(z.array(z.int())),
  completion_ids: z.array(z.array(z.int())),
  logprobs: z.array(numbers).describe('By answer and token, falling.'),
  logprob_token_ids: z.array(z.array(z.array(z.int()))),
  exit_depths: z.array(z.array(z.int())),
});

export const sequenceLogprobsBodySchema = z.strictObject({
  sequences: z.array(tokenIds).min(1, 'it must have one sequence at least.'),
  prompt_lengths: z.array(whole(1), 'it must be a list of lengths.'),
  top_logprobs: field(whole(1, MAX_ALTERNATIVES), 'So many most likely tokens; default 100.'),
  temperature: field(
    z.number('it must be a number above 0.').gt(0, 'it must be a number above 0.'),
    'Divides the logits; default 1.',
  ),
  response_format: field(
    oneOf(['json', 'binary']),
    'Lists, or the same as base64 of float32 and int32, padded to the longest; default json.',
  ),
  ...trainerDepths,
});

const padded = z.array(z.array(z.array(z.number())));
const paddedIds = z.array(z.array(z.array(z.int())));

export const sequenceLogprobsSchema = z.strictObject({
  logprobs: padded.describe(
    'By sequence and token after the prompt: the most likely ones, falling.',
  ),
  logprob_token_ids: paddedIds,
  actual_logprobs: padded.describe('Of the token that is there.'),
  actual_token_ids: paddedIds,
});

/** Arrays as base64, the most likely ones of the given shape, and one for each actual token. */
export const packedSequenceLogprobsSchema = z.strictObject({
  logprobs_b64: z.string(),
  token_ids_b64: z.string(),
  actual_logprobs_b64: z.string(),
  actual_token_ids_b64: z.string(),
  shape: z.array(z.int()).describe('Sequences, tokens of the longest, most likely ones.'),
  completion_lengths: z.array(z.int()),
});

export const worldSizeSchema = z.strictObject({ world_size: z.literal(1) });

/** What TRL asks of the configuration of a server. */
export const serverInfoSchema = z.strictObject({
  vllm_config: z.strictObject({
    model_config: z.strictObject({
      model: z.string(),
      max_model_len: z.int(),
      logprobs_mode: z.enum(['raw_logprobs', 'processed_logprobs']),
    }),
    weight_transfer_config: z.null(),
  }),
});

export type WireTrlGenerate = z.infer<typeof trlGenerateSchema>;
export type WirePackedSequenceLogprobs = z.infer<typeof packedSequenceLogprobsSchema>;

export type TrlSampling = Omit<Given<z.infer<typeof trlGenerateBodySchema>>, 'prompts' | 'images'>;
