/**
 * What reinforcement-learning trainers send and read: token ids in, token ids, log-probabilities and
 * depths out; pauses and weights.
 * Sources: vLLM's disaggregated protocol, the clients of prime-rl and SkyRL.
 */
import { z } from 'zod';
import type { Given } from './fields.js';
import {
  depthFields,
  field,
  flag,
  identityFields,
  oneOf,
  only,
  samplingFields,
  stopFields,
  text,
  tokenIds,
  whole,
} from './fields.js';
import { promptLogprobsSchema } from './logprobs.js';
import { usageSchema } from './usage.js';

/** Most alternatives that are told beside a token here: distillation asks for many. */
export const MAX_ALTERNATIVES = 1024;

const { priority: _, loop_logprobs: __, ...depths } = depthFields;
/** Fields of depth that mean the same in every body for trainers. */
export const trainerDepths = depths;

/** Settings of vLLM that change nothing of what this route returns. */
const hints = {
  flat_logprobs: field(flag, 'Not used.'),
  detokenize: field(flag, 'Not used: no text is returned.'),
  skip_special_tokens: field(flag, 'Not used: no text is returned.'),
  spaces_between_special_tokens: field(flag, 'Not used: no text is returned.'),
  include_stop_str_in_output: field(flag, 'Not used: no text is returned.'),
  output_kind: field(whole(0, 2), 'Not used.'),
  extra_args: field(
    z.record(z.string(), z.unknown(), 'it must be an object.'),
    'Of other servers; not used.',
  ),
};

const samplingParamsSchema = z.strictObject(
  {
    ...samplingFields,
    ...stopFields,
    ...depths,
    n: field(whole(1, 128), 'Choices.'),
    max_tokens: field(whole(1), 'New tokens at most; default 16.'),
    min_tokens: field(only(0, 'answers end where the model ends them.'), 'Only 0.'),
    logprobs: field(
      whole(0, MAX_ALTERNATIVES),
      'Tells the log-probability of every token, and so many most likely ones.',
    ),
    prompt_logprobs: field(
      whole(0, MAX_ALTERNATIVES),
      'Scores the prompt: every token of it, and so many most likely ones.',
    ),
    ...hints,
  },
  'it must be an object.',
);

export const generateBodySchema = z.strictObject({
  request_id: field(text, 'Comes back with the answer.'),
  model: identityFields.model,
  token_ids: tokenIds.describe('The prompt.'),
  sampling_params: samplingParamsSchema.describe('How to continue it, under the names of vLLM.'),
  ...depths,
  loop_logprobs: field(
    flag,
    'Adds to every choice the log-probability of each token at every loop that ran, the gate logits, and the log-probability of each exit.',
  ),
  cache_salt: depthFields.cache_salt,
  priority: field(z.number(), 'Requests of SMALLER priority go first, as in vLLM; default 0.'),
  stream: field(flag, 'Sends the answer as server-sent events, token by token.'),
});

const alternative = z.strictObject({
  token: z.string().describe('`token_id:` and the id.'),
  logprob: z.number(),
});

const tokenLogprobs = z.strictObject({
  content: z.array(alternative.extend({ top_logprobs: z.array(alternative) })),
});

/** Small numbers, one for each token, as bytes. */
const packedSchema = z.strictObject({
  data: z.string().describe('Base64 of the bytes.'),
  shape: z.array(z.int()),
  start: z.int().describe('Index of the first token.'),
  dtype: z.literal('uint8'),
});

export const numbers = z.array(z.array(z.number()));

const generateChoiceSchema = z.strictObject({
  index: z.int(),
  token_ids: z.array(z.int()),
  logprobs: tokenLogprobs.nullable(),
  finish_reason: z.enum(['stop', 'length', 'abort']).nullable(),
  exit_depths: packedSchema.describe('Depth of every token, 1 to the number of loops.'),
  loop_logprobs: numbers.optional(),
  gate_logits: numbers.nullable().optional(),
  exit_logprobs: z
    .array(z.number())
    .nullable()
    .optional()
    .describe('By the gate: log-probability of exiting where each token did.'),
  rollout: z.record(z.string(), z.unknown()).optional(),
});

export const generateSchema = z.strictObject({
  request_id: z.string(),
  choices: z.array(generateChoiceSchema),
  prompt_logprobs: promptLogprobsSchema.nullable(),
  usage: usageSchema.nullable(),
  weights_version: z.int().describe('Updates behind the weights of the last token.'),
});

/**
 * What becomes of requests under way: they `keep` their tokens and go on later, they `abort` with the
 * tokens that they have, or everybody will `wait` for their end.
 */
export const PAUSE_MODES = ['keep', 'abort', 'wait'] as const;
export type PauseMode = (typeof PAUSE_MODES)[number];

export const updateBodySchema = z.strictObject({
  weight_dir: text.describe('Folder on the machine of the server, with a file STABLE.'),
  mode: field(oneOf(['keep', 'abort']), 'What becomes of requests under way; default keep.'),
});

export const pausedSchema = z.strictObject({ is_paused: z.boolean() });
export const weightsSchema = z.strictObject({ weights_version: z.int() });

export type GenerateBody = Given<z.infer<typeof generateBodySchema>>;
export type WireGenerateChoice = z.infer<typeof generateChoiceSchema>;
export type WireGenerate = z.infer<typeof generateSchema>;
export type WirePacked = z.infer<typeof packedSchema>;
