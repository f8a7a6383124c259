/** `POST /v1/chat/completions`: body, answer and the chunks of a stream. */
import { z } from 'zod';
import type { Given } from './fields.js';
import {
  MAX_TOP_LOGPROBS,
  asTokenIds,
  depthFields,
  field,
  flag,
  functionFields,
  identityFields,
  oneOf,
  only,
  outputFields,
  samplingFields,
  stopFields,
  templateFields,
  text,
  toolChoiceFields,
  whole,
} from './fields.js';
import { tokenLogprobSchema } from './logprobs.js';
import { usageSchema } from './usage.js';

const textPart = z.strictObject(
  { type: only('text', 'the model reads text.'), text },
  "it must be an object of type 'text'.",
);
const contentSchema = z.union(
  [text, z.array(textPart)],
  "it must be a text, or a list of parts of type 'text'.",
);

const calledSchema = z.strictObject(
  {
    id: text,
    type: only('function', 'tools are functions.'),
    function: z.strictObject({ name: text, arguments: text }, 'it must be an object.'),
    index: field(whole(0), 'Of a stream; not used.'),
  },
  'it must be a call of a tool.',
);

export const messageSchema = z.strictObject(
  {
    role: oneOf(['system', 'developer', 'user', 'assistant', 'tool']),
    content: field(contentSchema, 'Text, or parts of it. Only calls of tools may have none.'),
    name: field(text, 'Name of who speaks, for templates that read it.'),
    reasoning: field(text, 'Of an earlier answer, for templates that read it.'),
    reasoning_content: field(text, 'The same under its other name.'),
    tool_calls: field(z.array(calledSchema, 'it must be a list.'), 'Calls of an earlier answer.'),
    tool_call_id: field(text, 'Which call a message of a tool answers.'),
    refusal: field(z.null('it must be null.'), 'Null, as it comes back from an earlier answer.'),
  },
  'it must be an object with a role.',
);

export const toolSchema = z.strictObject(
  {
    type: only('function', 'tools are functions.'),
    function: z.strictObject(functionFields, 'it must be an object with a name.'),
  },
  "it must be an object of type 'function'.",
);

export const chatBodySchema = z.strictObject({
  ...identityFields,
  messages: z
    .array(messageSchema, 'it must be a list of messages.')
    .min(1, 'it must have at least one message.')
    .describe('The conversation.'),
  max_tokens: field(whole(1), 'New tokens at most; default: what the context holds.'),
  max_completion_tokens: field(whole(1), 'The same under its newer name.'),
  logprobs: field(flag, 'Tells the log-probability and exit depth of every token.'),
  top_logprobs: field(
    whole(0, MAX_TOP_LOGPROBS),
    'And so many most likely tokens; needs logprobs.',
  ),
  tools: field(
    z.array(toolSchema, 'it must be a list of tools.'),
    'Functions that the model may call; needs a chat template that takes tools.',
  ),
  ...toolChoiceFields,
  response_format: field(
    z.strictObject(
      { type: only('text', 'answers are not held to a JSON schema.') },
      "it must be { type: 'text' }.",
    ),
    'Only text.',
  ),
  reasoning_effort: field(
    text,
    "'none' for no reasoning; other words only for templates that read reasoning_effort.",
  ),
  store: field(only(false, 'nothing is kept.'), 'Only false.'),
  modalities: field(z.array(only('text', 'the model writes text.')), 'Only text.'),
  return_tokens_as_token_ids: asTokenIds,
  ...outputFields,
  ...samplingFields,
  ...stopFields,
  ...templateFields,
  ...depthFields,
});

const toolCallSchema = z.strictObject({
  index: z.int().optional(),
  id: z.string(),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string(), arguments: z.string() }),
});

const logprobsSchema = z.strictObject({ content: z.array(tokenLogprobSchema) });
const finishReason = z.enum(['stop', 'length', 'tool_calls', 'abort']);

const endFields = {
  index: z.int(),
  logprobs: logprobsSchema.nullable(),
  finish_reason: finishReason.nullable(),
  stop_reason: z.union([z.string(), z.int()]).nullable(),
  token_ids: z.array(z.int()).optional(),
  rollout: z.record(z.string(), z.unknown()).optional(),
};

const choiceSchema = z.strictObject({
  ...endFields,
  message: z.strictObject({
    role: z.literal('assistant'),
    content: z.string().nullable(),
    refusal: z.null(),
    reasoning: z.string().nullable(),
    reasoning_content: z.string().nullable(),
    tool_calls: z.array(toolCallSchema).optional(),
  }),
});

const chunkChoiceSchema = z.strictObject({
  ...endFields,
  delta: z.strictObject({
    role: z.literal('assistant').optional(),
    content: z.string().optional(),
    reasoning: z.string().optional(),
    reasoning_content: z.string().optional(),
    tool_calls: z.array(toolCallSchema).optional(),
  }),
});

const answerFields = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  prompt_token_ids: z.array(z.int()).optional(),
};

export const chatCompletionSchema = z.strictObject({
  ...answerFields,
  object: z.literal('chat.completion'),
  choices: z.array(choiceSchema),
  usage: usageSchema,
});

export const chatChunkSchema = z.strictObject({
  ...answerFields,
  object: z.literal('chat.completion.chunk'),
  choices: z.array(chunkChoiceSchema),
  usage: usageSchema.nullish(),
});

export type ChatBody = Given<z.infer<typeof chatBodySchema>>;
export type WireMessage = ChatBody['messages'][number];
export type WireTool = z.infer<typeof toolSchema>;
export type WireToolCall = z.infer<typeof toolCallSchema>;
export type WireChatCompletion = z.infer<typeof chatCompletionSchema>;
export type WireChatChoice = z.infer<typeof choiceSchema>;
export type WireChatChunk = z.infer<typeof chatChunkSchema>;
export type WireChatChunkChoice = z.infer<typeof chunkChoiceSchema>;
