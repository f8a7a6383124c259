/**
 * Conversations to learn from, in the three shapes in which data sets come.
 *
 * The one idea: all of them become messages as chat templates read them, each with whether it is to be
 * learnt. Source: the chat format of OpenAI's fine-tuning, prompt and completion of TRL, ShareGPT.
 */
import { z } from 'zod';
import { RequestError } from '../../errors.js';
import type { ChatMessage } from '../../tokenizer/index.js';
import { checkFields } from '../../util/parse-fields.js';
import { quote } from '../../util/quote.js';

/** A conversation, and which of its messages are learnt. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** As long as `messages`; only messages of the assistant are. */
  readonly isLearnt: readonly boolean[];
  readonly tools?: readonly unknown[] | undefined;
}

/** The shapes of a line, for help texts and messages. */
export const CHAT_SHAPES =
  '{"messages": [{"role", "content"}, ...]}, {"prompt": ..., "completion": ...} or {"conversations": [{"from", "value"}, ...]}';

const text = z.string('it must be a text');

const content = z
  .union(
    [text, z.array(z.object({ type: z.literal('text'), text })), z.null()],
    "it must be a text, or a list of parts of type 'text'",
  )
  .optional()
  .transform((value) =>
    Array.isArray(value) ? value.map((part) => part.text).join('') : (value ?? ''),
  );

/** A value that may be JSON in a text. */
function fromJson(value: unknown, context: z.RefinementCtx): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    context.addIssue({ code: 'custom', message: 'it must be JSON' });
    return z.NEVER;
  }
}

const toolCall = z.object({
  id: text.optional(),
  function: z.object({
    name: text,
    // OpenAI writes JSON as a text, others the object itself
    arguments: z.unknown().transform((value, context) => fromJson(value, context) ?? {}),
  }),
});

/** Keys that no template reads are passed over: data sets carry notes of many kinds. */
const message = z
  .object({
    role: text.min(1, 'it must not be empty'),
    content,
    reasoning: text.nullish(),
    reasoning_content: text.nullish(),
    tool_calls: z.array(toolCall, 'it must be a list').nullish(),
    tool_call_id: text.nullish(),
    name: text.nullish(),
    weight: z.union([z.literal(0), z.literal(1)], 'it must be 0 or 1').optional(),
  })
  .transform(({ role, content: words, weight, ...rest }) => {
    const reasoning = rest.reasoning_content ?? rest.reasoning;
    const { tool_calls: calls, tool_call_id: answers, name } = rest;
    const made: ChatMessage = {
      // the name that newer clients have for it; templates know the older one
      role: role === 'developer' ? 'system' : role,
      content: words,
      ...(reasoning && { reasoning_content: reasoning }),
      ...(calls?.length && {
        tool_calls: calls.map((call) => ({
          ...(call.id !== undefined && { id: call.id }),
          type: 'function' as const,
          function: { name: call.function.name, arguments: call.function.arguments },
        })),
      }),
      ...(answers && { tool_call_id: answers }),
      ...(name && { name }),
    };
    return { made, isLearnt: made.role === 'assistant' && weight !== 0 };
  });

const messages = z.array(message, 'it must be a list of messages').min(1, 'it must not be empty');
/** Those of ShareGPT are a text, which is empty where there are none. */
const tools = z
  .preprocess(
    (value, context) => (value === '' ? undefined : fromJson(value, context)),
    z.array(z.unknown(), 'it must be a list').nullish(),
  )
  .optional();

const messagesLine = z.object({ messages, tools });
const completionLine = z.object({
  prompt: z.union([text, messages], 'it must be a text or a list of messages'),
  completion: z.union([text, messages], 'it must be a text or a list of messages'),
  system: text.nullish(),
  tools,
});
const shareGptLine = z.object({
  conversations: z
    .array(z.object({ from: text, value: text }), 'it must be a list of {"from", "value"}')
    .min(1, 'it must not be empty'),
  system: text.nullish(),
  tools,
});

/**
 * The conversation of a line.
 *
 * @throws RequestError that says what is wrong, if it has none of the shapes or nothing in it is learnt.
 */
export function parseConversation(line: string): Conversation {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new RequestError(`not JSON (${String(cause)}); a line is one of ${CHAT_SHAPES}.`);
  }
  const conversation = ofShape(value);
  if (conversation.isLearnt.includes(true)) return conversation;
  throw new RequestError(
    'no message of the assistant is to be learnt; at least one must be. Remove the line.',
  );
}

function ofShape(value: unknown): Conversation {
  const keys = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  if (keys.includes('messages')) {
    const { messages: list, tools: given } = check(messagesLine, value);
    return { ...partsOf(list), tools: given ?? undefined };
  }
  if (keys.includes('completion')) {
    const { prompt, completion, system, tools: given } = check(completionLine, value);
    const before = [...systemMessage(system), ...asMessages(prompt, 'user')];
    const all = [
      ...before.map(({ made }) => ({ made, isLearnt: false })),
      ...asMessages(completion, 'assistant'),
    ];
    return { ...partsOf(all), tools: given ?? undefined };
  }
  if (keys.includes('conversations')) {
    const { conversations, system, tools: given } = check(shareGptLine, value);
    const all = [...systemMessage(system), ...conversations.map(shareGptMessage)];
    return { ...partsOf(all), tools: given ?? undefined };
  }
  const got = keys.length > 0 ? `it has ${keys.slice(0, 8).join(', ')}` : 'it is no object';
  throw new RequestError(`${got}; a line is one of ${CHAT_SHAPES}.`);
}

type Marked = z.output<typeof message>;

function check<S extends z.ZodObject>(schema: S, value: unknown): z.output<S> {
  const checked = checkFields(schema, value, 'the line');
  if ('data' in checked) return checked.data;
  throw new RequestError(`${checked.faults[0]!.sentence}. Correct the line.`);
}

function partsOf(list: readonly Marked[]): Conversation {
  return {
    messages: list.map(({ made }) => made),
    isLearnt: list.map(({ isLearnt }) => isLearnt),
  };
}

const simple = (role: string, words: string): Marked => ({
  made: { role, content: words },
  isLearnt: role === 'assistant',
});

function systemMessage(words: string | null | undefined): Marked[] {
  return words ? [simple('system', words)] : [];
}

function asMessages(given: string | readonly Marked[], role: string): readonly Marked[] {
  return typeof given === 'string' ? [simple(role, given)] : given;
}

const SHAREGPT_ROLES: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  assistant: 'assistant',
  model: 'assistant',
  system: 'system',
  tool: 'tool',
  observation: 'tool',
};

function shareGptMessage({ from, value }: { from: string; value: string }, index: number): Marked {
  if (from === 'function_call') return functionCall(value, index);
  const role = SHAREGPT_ROLES[from];
  if (role !== undefined) return simple(role, value);
  const known = [...Object.keys(SHAREGPT_ROLES), 'function_call'].join(', ');
  throw new RequestError(
    `conversations.${index}.from is ${quote(from)}; it must be one of ${known}. Correct the line.`,
  );
}

const calledSchema = z.object({ name: z.string(), arguments: z.unknown() });

function functionCall(value: string, index: number): Marked {
  try {
    const { name, arguments: given = {} } = calledSchema.parse(JSON.parse(value));
    const call = { type: 'function' as const, function: { name, arguments: given } };
    return { made: { role: 'assistant', content: '', tool_calls: [call] }, isLearnt: true };
  } catch (cause) {
    throw new RequestError(
      `conversations.${index}.value of a function_call is ${quote(value)}; it must be {"name": ..., "arguments": ...}. Correct the line.`,
      { cause },
    );
  }
}
