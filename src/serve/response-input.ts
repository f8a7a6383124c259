/** The input of the responses API as the conversation that a chat template reads. */
import type { ChatMessage } from '../tokenizer/index.js';
import type { Conversation } from './chat-messages.js';
import { toolCall } from './chat-messages.js';
import { badRequest } from './errors.js';
import type { ResponseBody, WireContent, WireInputItem } from './wire/responses.js';

export function responseConversation(body: ResponseBody): Conversation {
  const { input, instructions, tools = [], tool_choice: choice } = body;
  const items: readonly WireInputItem[] =
    typeof input === 'string' ? [{ role: 'user', content: input }] : input;
  const system = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  return {
    messages: [...system, ...messagesOf(items)],
    tools: tools.map(({ type, ...description }) => ({ type, function: description })),
    takesCalls: choice !== 'none' && tools.length > 0,
    templateArguments: body.chat_template_kwargs ?? {},
    reasoningEffort: body.reasoning?.effort ?? undefined,
  };
}

/** Items of one answer (reasoning, text, calls) are one message of the assistant. */
function messagesOf(items: readonly WireInputItem[]): ChatMessage[] {
  const messages: ChatMessage[] = [];
  let reasoning: string | undefined;
  for (const [index, item] of items.entries()) {
    switch (item.type) {
      case 'reasoning':
        reasoning = textOf(item.content ?? []);
        break;
      case 'function_call':
        addCall(messages, item, `input.${index}.arguments`, reasoning);
        reasoning = undefined;
        break;
      case 'function_call_output':
        messages.push({ role: 'tool', content: textOf(item.output), tool_call_id: item.call_id });
        break;
      default: {
        const role = item.role === 'developer' ? 'system' : item.role;
        const thought = role === 'assistant' && reasoning ? { reasoning_content: reasoning } : {};
        messages.push({ role, content: textOf(item.content), ...thought });
        reasoning = undefined;
      }
    }
  }
  if (messages.length === 0) throw badRequest('input', 'input has no message; give at least one.');
  return messages;
}

function addCall(
  messages: ChatMessage[],
  item: Extract<WireInputItem, { type: 'function_call' }>,
  path: string,
  reasoning: string | undefined,
): void {
  const call = toolCall(item.call_id, item.name, item.arguments, path);
  const last = messages.at(-1);
  if (last?.role === 'assistant') {
    messages[messages.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), call] };
    return;
  }
  const thought = reasoning ? { reasoning_content: reasoning } : {};
  messages.push({ role: 'assistant', content: '', tool_calls: [call], ...thought });
}

function textOf(content: WireContent): string {
  return typeof content === 'string' ? content : content.map(({ text }) => text).join('');
}
