/**
 * A conversation as clients send it into the prompt that the model reads.
 */
import type { ChatMessage } from '../tokenizer/index.js';
import { quote } from '../util/quote.js';
import { ApiError, badRequest, toApiError } from './errors.js';
import type { Server } from './server.js';
import type { ChatBody, WireMessage, WireTool } from './wire/chat.js';

/** A conversation to answer. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** Shown to the model, whether or not it may call them. */
  readonly tools: readonly WireTool[];
  /** Whether calls are told from text. */
  readonly takesCalls: boolean;
  readonly templateArguments: Readonly<Record<string, unknown>>;
  readonly reasoningEffort: string | undefined;
}

/** A prompt, and the ids that end its answer besides those of the model. */
export interface ChatPrompt {
  readonly prompt: string;
  readonly endIds: readonly number[];
}

/** @throws ApiError 400 if the model has no template, or one that has no place for what is given */
export function chatPrompt(server: Server, conversation: Conversation): ChatPrompt {
  const { model, chatTemplate } = server;
  if (!chatTemplate) {
    throw badRequest(
      'messages',
      'The model has no chat template, and chat needs one. Use /v1/completions, or start the server with --chat-template.',
      'no_chat_template',
    );
  }
  const { messages, tools, takesCalls } = conversation;
  if (takesCalls && !chatTemplate.readsTools) {
    throw badRequest(
      'tools',
      'tools are given, but the chat template of the model has no place for them. Leave them out.',
      'unsupported_parameter',
    );
  }
  const { enable_thinking: thinking, ...templateArguments } = conversation.templateArguments;
  if (thinking !== undefined && typeof thinking !== 'boolean') {
    throw badRequest(
      'chat_template_kwargs.enable_thinking',
      'chat_template_kwargs.enable_thinking must be true or false.',
    );
  }
  const effort = effortArguments(chatTemplate.source, conversation.reasoningEffort);
  const enableThinking = thinking ?? effort.enableThinking;
  try {
    return model.chatPrompt(messages, {
      chatTemplate,
      enableThinking,
      tools: chatTemplate.readsTools && tools.length > 0 ? tools : undefined,
      templateArguments: { ...effort.variables, ...templateArguments },
    });
  } catch (error) {
    const { status, message, code, param, cause } = toApiError(error, { isChecking: true });
    throw new ApiError(status, message, { code, param: param ?? 'messages', cause });
  }
}

/** `none` is no reasoning; how much of it there is, only a template can tell the model. */
function effortArguments(source: string, effort: string | undefined) {
  if (effort === undefined) return {};
  if (effort === 'none') return { enableThinking: false };
  if (/\breasoning_effort\b/.test(source)) return { variables: { reasoning_effort: effort } };
  throw badRequest(
    'reasoning_effort',
    `reasoning_effort is ${quote(effort)}, but the chat template of the model does not read it. Use "none", or chat_template_kwargs with enable_thinking.`,
    'unsupported_parameter',
  );
}

/** The conversation of a chat body. */
export function conversationOf(
  body: Pick<
    ChatBody,
    'messages' | 'tools' | 'tool_choice' | 'chat_template_kwargs' | 'reasoning_effort'
  >,
): Conversation {
  const { messages, tools = [], tool_choice: choice } = body;
  return {
    messages: messages.map(chatMessage),
    tools,
    takesCalls: choice !== 'none' && tools.length > 0,
    templateArguments: body.chat_template_kwargs ?? {},
    reasoningEffort: body.reasoning_effort,
  };
}

function chatMessage(message: WireMessage, index: number): ChatMessage {
  const { role, content, name, tool_call_id, tool_calls } = message;
  const calls = tool_calls ?? undefined;
  if ((content ?? undefined) === undefined && !calls?.length) {
    throw badRequest(
      `messages.${index}.content`,
      `messages.${index}.content is missing; a message needs a text.`,
    );
  }
  const reasoning = message.reasoning_content ?? message.reasoning ?? undefined;
  return {
    // the name that newer clients have for it; templates know the older one
    role: role === 'developer' ? 'system' : role,
    content: contentText(content ?? ''),
    ...(reasoning !== undefined && { reasoning_content: reasoning }),
    ...(typeof name === 'string' && { name }),
    ...(typeof tool_call_id === 'string' && { tool_call_id }),
    ...(calls?.length && {
      tool_calls: calls.map((call, at) => {
        const path = `messages.${index}.tool_calls.${at}.function.arguments`;
        return toolCall(call.id, call.function.name, call.function.arguments, path);
      }),
    }),
  };
}

/** Text of a content, its parts one after the other. */
function contentText(content: NonNullable<WireMessage['content']>): string {
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('');
}

/** A call as templates read it. @throws ApiError 400 if its arguments are not JSON */
export function toolCall(id: string, name: string, json: string, path: string) {
  try {
    const parsed: unknown = JSON.parse(json);
    return { id, type: 'function' as const, function: { name, arguments: parsed } };
  } catch {
    throw badRequest(path, `${path} is ${quote(json)}; it must be JSON.`);
  }
}
