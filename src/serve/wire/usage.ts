/** What a request took, as every answer tells it. */
import { z } from 'zod';

const count = z.int();

const depthUsage = {
  mean_depth: z.number().describe('Mean exit depth of the new tokens; 0 without any.'),
  loops_run: count.describe('Loops of tokens that were computed, prompt included.'),
  loops_saved: count.describe(
    'Loops that full depth would have computed besides, were nothing taken over from earlier prompts.',
  ),
  drafted_tokens: count.describe('Tokens that were guessed at a shallow depth.'),
  accepted_tokens: count.describe('Guesses that were right.'),
};

export const usageSchema = z.strictObject({
  prompt_tokens: count,
  completion_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.strictObject({
    cached_tokens: count.describe('Prompt tokens that earlier requests had computed.'),
  }),
  completion_tokens_details: z.strictObject({ reasoning_tokens: count }),
  ...depthUsage,
});

/** The same under the names of the responses API. */
export const responseUsageSchema = z.strictObject({
  input_tokens: count,
  input_tokens_details: z.strictObject({ cached_tokens: count }),
  output_tokens: count,
  output_tokens_details: z.strictObject({ reasoning_tokens: count }),
  total_tokens: count,
  ...depthUsage,
});

export type WireUsage = z.infer<typeof usageSchema>;
export type WireResponseUsage = z.infer<typeof responseUsageSchema>;
