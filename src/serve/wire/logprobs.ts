/** Log-probabilities of tokens as chat and responses tell them. */
import { z } from 'zod';

const topLogprob = z.strictObject({
  token: z.string(),
  token_id: z.int(),
  bytes: z.array(z.int()).nullable(),
  logprob: z.number(),
});

const loop = z.strictObject({
  exit_prob: z
    .number()
    .nullable()
    .describe('Of the exit gate after this loop; null without a gate.'),
  logprob: z.number().describe('Of the token that was taken, read out at this loop.'),
  top_logprobs: z.array(topLogprob),
});

export const tokenLogprobSchema = topLogprob.extend({
  top_logprobs: z.array(topLogprob),
  exit_depth: z.int().describe('Loops that the token took.'),
  loops: z.array(loop).optional(),
});

/** The lists of the completions API; entry n of each belongs to token n. */
export const completionLogprobsSchema = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()),
  token_ids: z.array(z.int()),
  exit_depths: z.array(z.int().nullable()),
  loops: z.array(z.array(loop).nullable()).optional(),
});

const ranked = z.strictObject({
  logprob: z.number(),
  rank: z.int().describe('1 for the most likely token.'),
  decoded_token: z.string().nullable(),
});

/** Of every token of a prompt but the first, by the id of the token. */
export const promptLogprobsSchema = z.array(z.record(z.string(), ranked).nullable());

export type WireTopLogprob = z.infer<typeof topLogprob>;
export type WireLoop = z.infer<typeof loop>;
export type WireTokenLogprob = z.infer<typeof tokenLogprobSchema>;
export type WireCompletionLogprobs = z.infer<typeof completionLogprobsSchema>;
export type WirePromptLogprobs = z.infer<typeof promptLogprobsSchema>;
