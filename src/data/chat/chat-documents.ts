/**
 * Conversations to documents in which the tokens of the assistant alone are learnt.
 *
 * The one idea: a turn is learnt in exactly the text that the model would have before it when it
 * writes that turn, which is what the chat template makes of the messages before it. Where the
 * template tells earlier turns again as they were, all turns share one document; where it changes them
 * (as those do that leave out earlier reasoning), a turn begins a document of its own. Does not know
 * how lines are read.
 */
import { RequestError } from '../../errors.js';
import type { ChatMessage, ChatTemplate, Tokenizer } from '../../tokenizer/index.js';
import type { TrainingDocument } from '../batch.js';
import { IGNORED_TARGET } from '../batch.js';
import type { Conversation } from './conversation.js';

export interface ChatDocumentsOptions {
  readonly template: ChatTemplate;
  readonly tokenizer: Pick<Tokenizer, 'encode'>;
  /** Tokens that end an answer of the model. */
  readonly stopIds: readonly number[];
  /** Is learnt after the last answer, if the template ends it with no stop token. */
  readonly endOfTextId: number;
}

/**
 * The documents of a conversation: every turn that is learnt in one of them. Counted are the tokens of
 * the turn, reasoning and calls of tools included, and the token that ends it; not what the template
 * writes before, nor after that token.
 *
 * @throws RequestError if the template refuses the messages or has no place for what they hold.
 */
export function chatDocuments(
  conversation: Conversation,
  options: ChatDocumentsOptions,
): TrainingDocument[] {
  const { messages, isLearnt } = conversation;
  const { template, tokenizer, stopIds, endOfTextId } = options;
  checkPlaces(messages, template);
  const encode = (text: string) => tokenizer.encode(text, { unencodable: 'replace' });
  const drafts: Draft[] = [];
  for (const [index, isTurn] of isLearnt.entries()) {
    if (!isTurn) continue;
    const { before, turn } = renderTurn(conversation, index, template);
    let draft = drafts.at(-1);
    if (draft === undefined || !before.startsWith(draft.text)) {
      draft = { text: '', ids: [], isCounted: [] };
      drafts.push(draft);
    }
    append(draft, encode(before.slice(draft.text.length)), 0);
    const ids = encode(turn);
    const stop = ids.findLastIndex((id) => stopIds.includes(id));
    const isLast = index === messages.length - 1;
    append(draft, ids, stop < 0 ? ids.length : stop + 1);
    if (stop < 0 && isLast) append(draft, [endOfTextId], 1);
    draft.text = before + turn;
  }
  return drafts.map(documentOf).filter(({ ids }) => ids.length > 0);
}

interface Draft {
  /** What the tokens are of. */
  text: string;
  readonly ids: number[];
  readonly isCounted: boolean[];
}

function append(draft: Draft, ids: readonly number[], numCounted: number): void {
  for (const [index, id] of ids.entries()) {
    draft.ids.push(id);
    draft.isCounted.push(index < numCounted);
  }
}

/** Each counted token is the target of the one before it; what follows the last one is left out. */
function documentOf({ ids, isCounted }: Draft): TrainingDocument {
  const last = isCounted.lastIndexOf(true);
  return {
    ids: ids.slice(0, Math.max(0, last)),
    targets: ids.slice(1, last + 1).map((id, i) => (isCounted[i + 1] ? id : IGNORED_TARGET)),
  };
}

/** Stand for what an assistant might say, to see where it would stand. */
const PROBES = ['\uE000', '\uE001'] as const;

/** The text of a turn, and all that is before it. */
function renderTurn(
  { messages, tools }: Conversation,
  index: number,
  template: ChatTemplate,
): { readonly before: string; readonly turn: string } {
  const context = messages.slice(0, index);
  const options = tools ? { tools } : {};
  const rendered = (last: ChatMessage) => template.apply([...context, last], options);
  const text = rendered(withReasoning(messages[index]!, template));
  const probe = rendered({ role: 'assistant', content: PROBES[0] });
  const isFirst = context.length === 0;
  const told = isFirst ? '' : template.apply(context, options);
  // What a turn begins with: as when it is asked for, or, of the first message, what any turn shares.
  const prompt = isFirst
    ? rendered({ role: 'assistant', content: PROBES[1] })
    : template.apply(context, { ...options, addGenerationPrompt: true });
  const before = !isFirst && text.startsWith(prompt) ? prompt : commonStart(prompt, probe);
  if (text.startsWith(before) && before.startsWith(told)) {
    return { before, turn: text.slice(before.length) };
  }
  throw new RequestError(
    `the chat template tells what is before message ${index} in another way than when it asks for that message, so it cannot be learnt. Use another template.`,
  );
}

function commonStart(a: string, b: string): string {
  let length = 0;
  while (length < a.length && a[length] === b[length]) length++;
  return a.slice(0, length);
}

/** Reasoning of which the template knows nothing is written as the Thinking models write it. */
function withReasoning(message: ChatMessage, template: ChatTemplate): ChatMessage {
  const { reasoning_content: reasoning, ...rest } = message;
  if (!reasoning || /\breasoning_content\b/.test(template.source)) return message;
  return { ...rest, content: `<think>\n${reasoning}\n</think>\n\n${rest.content}` };
}

function checkPlaces(messages: readonly ChatMessage[], template: ChatTemplate): void {
  const index = messages.findIndex(({ tool_calls: calls }) => calls !== undefined);
  if (index < 0 || /\btool_calls\b/.test(template.source)) return;
  throw new RequestError(
    `message ${index} calls tools, and the chat template has no place for calls. Use a template for tools, or leave the line out.`,
  );
}
