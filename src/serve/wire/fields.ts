/**
 * Fields that several bodies have, as they come over the wire.
 *
 * Every field may be null, which is as if it were left out: clients in other languages send that.
 * Whatever is not named in a schema is refused by its name.
 */
import { z } from 'zod';
import { EXIT_POLICY_FORMS, KV_POLICIES, PREFILL_MODES } from '../../engine/index.js';

/** Most alternatives that are told beside a token. */
export const MAX_TOP_LOGPROBS = 20;

/** May be left out or null; the description is for the OpenAPI document. */
export function field<T extends z.ZodType>(schema: T, description: string) {
  return schema.nullish().describe(description);
}

/** A whole number within bounds, both allowed. */
export function whole(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  const most = max === Number.MAX_SAFE_INTEGER ? 'up' : `to ${max}`;
  const rule = `it must be a whole number from ${min} ${most}.`;
  return z.int(rule).min(min, rule).max(max, rule);
}

/** A number within bounds, both allowed. */
function real(min: number, max: number) {
  const rule = `it must be a number from ${min} to ${max}.`;
  return z.number(rule).min(min, rule).max(max, rule);
}

export const flag = z.boolean('it must be true or false.');
export const text = z.string('it must be a text.');
export const tokenIds = z.array(whole(0), 'it must be a list of token ids.');

/** The words, one of which a value must be. */
export function oneOf<const T extends readonly string[]>(words: T) {
  return z.enum(words, `it must be one of ${words.join(', ')}.`);
}

/** Only this value, which is the default, for options whose other values are not supported. */
export function only<const T extends string | number | boolean>(value: T, why: string) {
  return z.literal(value, `only ${JSON.stringify(value)} is supported: ${why}`);
}

/** Which model, and who asks. */
export const identityFields = {
  model: field(
    text,
    'Name of the model, as /v1/models tells it; the one that is served if left out.',
  ),
  user: field(text, 'Who asks; it is only written to the log.'),
  prompt_cache_key: field(
    text,
    'Whose prompts begin alike. A balancer sends them to one replica; the replica itself looks at the tokens.',
  ),
};

/** How tokens are drawn. */
export const samplingFields = {
  temperature: field(
    real(0, 1e6),
    "Divides the logits; 0 takes the best token. Default: what the model's generation_config.json says, else 0.",
  ),
  top_p: field(
    z
      .number('it must be a number above 0, at most 1.')
      .gt(0, 'it must be a number above 0, at most 1.')
      .max(1, 'it must be a number above 0, at most 1.'),
    'Draws from the fewest tokens that reach this probability.',
  ),
  top_k: field(whole(-1), 'Draws from so many most likely tokens; 0 or -1 for all.'),
  min_p: field(real(0, 1), 'Draws from tokens at least this fraction as likely as the best.'),
  repetition_penalty: field(real(0.01, 100), 'Above 1, makes tokens that were seen less likely.'),
  presence_penalty: field(real(-2, 2), 'Subtracted from the logits of new tokens seen before.'),
  frequency_penalty: field(real(-2, 2), 'The same for every time that they were seen.'),
  logit_bias: field(
    z.record(
      z.string().regex(/^\d+$/, 'its keys must be token ids.'),
      real(-100, 100),
      'it must be an object of numbers by token id.',
    ),
    'Added to the logits of tokens, by their id.',
  ),
  seed: field(whole(0), 'Seed of all draws; choice i has seed + i. Drawn by chance if left out.'),
};

/** How deep tokens go, and what is told of it: the fields of looplm. */
export const depthFields = {
  exit_policy: field(text, `When a token stops looping: ${EXIT_POLICY_FORMS}.`),
  min_depth: field(whole(1), 'Loops that every token takes at least.'),
  max_depth: field(whole(1), 'Loops that a token takes at most.'),
  num_loops: field(whole(1), "Loops of full depth; default the model's own."),
  kv_policy: field(oneOf(KV_POLICIES), 'How the cache of tokens of other depths is read.'),
  prefill: field(oneOf(PREFILL_MODES), 'Which loops of the prompt are run.'),
  speculation: field(
    z.union(
      [z.enum(['auto', 'off']), z.int().min(1)],
      "it must be 'auto', 'off' or the depth at which to guess.",
    ),
    'Guesses tokens at a shallow depth; changes no token.',
  ),
  loop_logprobs: field(
    whole(0, MAX_TOP_LOGPROBS),
    'Tells what every executed loop said of a token, and so many most likely tokens; needs logprobs.',
  ),
  rollout: field(flag, 'Adds the whole rollout record to every choice.'),
  cache_salt: field(
    text.min(1, 'it must not be empty.'),
    'Prompts share what was computed of their beginnings only under the same salt.',
  ),
  priority: field(real(-1e9, 1e9), 'Requests of larger priority go first; default 0.'),
};

const stopText = text.min(1, 'it must be a text of at least one character.');
const MAX_STOPS = 16;

/** What ends an answer. */
export const stopFields = {
  stop: field(
    z.union(
      [stopText, z.array(stopText).max(MAX_STOPS)],
      `it must be a text or a list of at most ${MAX_STOPS} texts, none of them empty.`,
    ),
    'Texts that end the answer, which is cut where one begins.',
  ),
  stop_token_ids: field(tokenIds, 'Token ids that end the answer.'),
  ignore_eos: field(flag, "Goes on after the model's end-of-text tokens."),
};

/** What the answer looks like. */
export const outputFields = {
  n: field(whole(1, 128), 'Choices for each prompt.'),
  stream: field(flag, 'Sends the answer as server-sent events, token by token.'),
  stream_options: field(
    z.strictObject(
      { include_usage: field(flag, 'Adds a last chunk with the usage.') },
      'it must be an object.',
    ),
    'Options of a stream; only with stream.',
  ),
  return_token_ids: field(flag, 'Adds token ids of prompt and answer.'),
};

/** How tokens in log-probabilities are named. */
export const asTokenIds = field(
  flag,
  'Names tokens in log-probabilities by `token_id:` and their id in place of their text.',
);

/** A function that a model may call. */
export const functionFields = {
  name: text.min(1, 'it must not be empty.'),
  description: field(text, 'What it does.'),
  parameters: field(
    z.record(z.string(), z.unknown(), 'it must be a JSON schema.'),
    'JSON schema of its arguments.',
  ),
  strict: field(only(false, 'arguments are not held to a schema.'), 'Only false.'),
};

/** Whether functions are called. */
export const toolChoiceFields = {
  tool_choice: field(
    oneOf(['auto', 'none']),
    'Whether tools may be called. A call cannot be forced.',
  ),
  parallel_tool_calls: field(only(true, 'the number of calls is up to the model.'), 'Only true.'),
};

/** A chat template's own switches. */
export const templateFields = {
  chat_template_kwargs: field(
    z.record(z.string(), z.unknown(), 'it must be an object.'),
    'Variables of the chat template, such as enable_thinking.',
  ),
};

/** Of a schema's output without null. */
export type Given<T> = { readonly [K in keyof T]: Exclude<T[K], null> };

/** A body whose nulls are left out. */
export function withoutNulls<T extends object>(body: T): Given<T> {
  const entries = Object.entries(body).filter(([, value]) => value !== null);
  return Object.fromEntries(entries) as Given<T>;
}
