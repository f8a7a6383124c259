/**
 * `POST /v1/responses`: body, answer and the events of a stream. The server keeps nothing, so what
 * would need an earlier answer is refused.
 */
import { z } from 'zod';
import type { Given } from './fields.js';
import {
  MAX_TOP_LOGPROBS,
  depthFields,
  field,
  flag,
  functionFields,
  identityFields,
  oneOf,
  only,
  samplingFields,
  stopFields,
  templateFields,
  text,
  toolChoiceFields,
  whole,
} from './fields.js';
import { tokenLogprobSchema } from './logprobs.js';
import { responseUsageSchema } from './usage.js';

const NOT_KEPT = 'nothing is kept; send the whole conversation as input.';

const textPart = z.looseObject(
  {
    type: oneOf(['input_text', 'output_text', 'text', 'reasoning_text', 'summary_text']),
    text,
  },
  'it must be a part with a text.',
);
const contentSchema = z.union(
  [text, z.array(textPart)],
  "it must be a text, or a list of parts of type 'input_text' or 'output_text'.",
);

/** What a client sends back of an answer has ids and states, which mean nothing here. */
const returnedFields = {
  id: field(text, 'Of an earlier answer; not used.'),
  status: field(text, 'Of an earlier answer; not used.'),
};

const messageItem = z.strictObject({
  type: field(z.literal('message'), 'May be left out.'),
  role: oneOf(['system', 'developer', 'user', 'assistant']),
  content: contentSchema,
  ...returnedFields,
});

const callItem = z.strictObject({
  type: z.literal('function_call'),
  call_id: text,
  name: text,
  arguments: text,
  ...returnedFields,
});

const callOutputItem = z.strictObject({
  type: z.literal('function_call_output'),
  call_id: text,
  output: contentSchema,
  ...returnedFields,
});

const reasoningItem = z.strictObject({
  type: z.literal('reasoning'),
  summary: field(z.array(textPart), 'Not used.'),
  content: field(z.array(textPart), 'Reasoning of an earlier answer.'),
  encrypted_content: field(z.null('it must be null.'), 'Null.'),
  ...returnedFields,
});

const ITEM_RULE =
  'it must be an item of type message, function_call, function_call_output or reasoning, with no other fields than these have.';
const REFERENCE_RULE =
  'it refers to an item of an earlier answer, and nothing is kept; send the item itself, as clients do with store: false.';

const itemSchema = z.union([messageItem, callItem, callOutputItem, reasoningItem], {
  error: ({ input }) =>
    (input as { type?: unknown } | null)?.type === 'item_reference' ? REFERENCE_RULE : ITEM_RULE,
});

const toolSchema = z.strictObject(
  {
    type: only('function', 'tools are functions.'),
    ...functionFields,
  },
  "it must be an object of type 'function'.",
);

const LOGPROBS = 'message.output_text.logprobs';

export const responseBodySchema = z.strictObject({
  ...identityFields,
  input: z
    .union(
      [text, z.array(itemSchema, 'it must be a list of items.').min(1)],
      'it must be a text, or a list of items of type message, function_call, function_call_output or reasoning.',
    )
    .describe('A message of the user, or the whole conversation.'),
  instructions: field(text, 'A message of the system before the input.'),
  max_output_tokens: field(whole(1), 'New tokens at most; default: what the context holds.'),
  stream: field(flag, 'Sends the answer as typed server-sent events.'),
  include: field(
    z.array(only(LOGPROBS, 'no more can be included.'), 'it must be a list.'),
    'Log-probabilities and exit depths of the tokens of the answer.',
  ),
  top_logprobs: field(whole(0, MAX_TOP_LOGPROBS), 'Most likely tokens beside each; needs include.'),
  tools: field(z.array(toolSchema, 'it must be a list of tools.'), 'Functions that may be called.'),
  ...toolChoiceFields,
  text: field(
    z.strictObject(
      {
        format: field(
          z.strictObject({ type: only('text', 'answers are not held to a JSON schema.') }),
          'Only text.',
        ),
      },
      "it must be { format: { type: 'text' } }.",
    ),
    'Only text.',
  ),
  reasoning: field(
    z.strictObject(
      { effort: field(text, 'As reasoning_effort of chat.') },
      'it must be an object with an effort.',
    ),
    'How much the model reasons.',
  ),
  truncation: field(
    only('disabled', 'a conversation that is too long is refused.'),
    'Only disabled.',
  ),
  metadata: field(
    z.record(z.string(), text, 'it must be an object of texts.'),
    'Comes back as it is.',
  ),
  store: field(only(false, NOT_KEPT), 'Only false, which is the default here.'),
  background: field(only(false, NOT_KEPT), 'Only false.'),
  previous_response_id: field(z.null(`it must be left out: ${NOT_KEPT}`), 'Not supported.'),
  conversation: field(z.null(`it must be left out: ${NOT_KEPT}`), 'Not supported.'),
  ...samplingFields,
  ...stopFields,
  ...templateFields,
  ...depthFields,
});

const partSchema = z.union([
  z.strictObject({
    type: z.literal('output_text'),
    text: z.string(),
    annotations: z.array(z.never()),
    logprobs: z.array(tokenLogprobSchema),
  }),
  z.strictObject({ type: z.literal('reasoning_text'), text: z.string() }),
]);

const itemStatus = z.enum(['in_progress', 'completed', 'incomplete']);

const outputItemSchema = z.union([
  z.strictObject({
    type: z.literal('message'),
    id: z.string(),
    role: z.literal('assistant'),
    status: itemStatus,
    content: z.array(partSchema),
  }),
  z.strictObject({
    type: z.literal('reasoning'),
    id: z.string(),
    status: itemStatus,
    summary: z.array(z.never()),
    content: z.array(partSchema),
  }),
  z.strictObject({
    type: z.literal('function_call'),
    id: z.string(),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    status: itemStatus,
  }),
]);

export const responseSchema = z.strictObject({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.int(),
  completed_at: z.int().nullable(),
  status: z.enum(['in_progress', 'completed', 'incomplete', 'failed']),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.strictObject({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.int().nullable(),
  model: z.string(),
  output: z.array(outputItemSchema),
  parallel_tool_calls: z.literal(true),
  previous_response_id: z.null(),
  reasoning: z.strictObject({ effort: z.string().nullable(), summary: z.null() }),
  store: z.literal(false),
  background: z.literal(false),
  temperature: z.number().nullable(),
  top_p: z.number().nullable(),
  text: z.strictObject({ format: z.strictObject({ type: z.literal('text') }) }),
  tool_choice: z.enum(['auto', 'none']),
  tools: z.array(z.record(z.string(), z.unknown())),
  top_logprobs: z.int(),
  truncation: z.literal('disabled'),
  metadata: z.record(z.string(), z.string()),
  user: z.string().nullable(),
  usage: responseUsageSchema.nullable(),
  rollout: z.record(z.string(), z.unknown()).optional(),
});

/** An event of a stream; which other fields it has depends on its type. */
export const responseEventSchema = z.looseObject({
  type: z.string(),
  sequence_number: z.int(),
});

export type ResponseBody = Given<z.infer<typeof responseBodySchema>>;
export type WireInputItem = z.infer<typeof itemSchema>;
export type WireContent = z.infer<typeof contentSchema>;
export type WireResponse = z.infer<typeof responseSchema>;
export type WireOutputItem = z.infer<typeof outputItemSchema>;
export type WirePart = z.infer<typeof partSchema>;
