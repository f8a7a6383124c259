/**
 * An answer of the responses API as it grows: items (reasoning, message, calls of functions) open, fill
 * and close, and each step of that is an event. A whole answer is where the events lead.
 * Source: the event types of the openai package.
 */
import type { ToolCall } from '../../text/index.js';
import type { WireTokenLogprob } from '../wire/logprobs.js';
import type { WireOutputItem, WirePart } from '../wire/responses.js';
import { newId } from './ids.js';

/** An event without its number. */
export interface ResponseEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

type TextItem = Extract<WireOutputItem, { content: unknown }>;

/** What the last open item is at. */
interface OpenItem {
  readonly index: number;
  readonly item: TextItem;
  readonly part: WirePart;
}

export class ResponseItems {
  readonly #items: WireOutputItem[] = [];
  #open: OpenItem | undefined;
  /** Of tokens of the message whose text is not certain yet. */
  #logprobs: WireTokenLogprob[] = [];

  /** All items, as they are now. */
  get items(): readonly WireOutputItem[] {
    return this.#items;
  }

  /** Reasoning that goes on, or begins. */
  *addReasoning(text: string): Iterable<ResponseEvent> {
    if (text === '') return;
    yield* this.#enter('reasoning');
    const { item, part, index } = this.#open!;
    part.text += text;
    yield { type: 'response.reasoning_text.delta', ...placeOf(item, index), delta: text };
  }

  /** Text of the message that goes on, or begins; tokens without text wait for the next with some. */
  *addText(text: string, logprobs: readonly WireTokenLogprob[]): Iterable<ResponseEvent> {
    this.#logprobs.push(...logprobs);
    if (text === '') return;
    yield* this.#enter('message');
    const { item, part, index } = this.#open!;
    part.text += text;
    const told = this.#tellLogprobs(part);
    yield {
      type: 'response.output_text.delta',
      ...placeOf(item, index),
      delta: text,
      logprobs: told,
    };
  }

  /** A whole call of a function. */
  *addCall(call: ToolCall): Iterable<ResponseEvent> {
    yield* this.close('completed');
    const index = this.#items.length;
    const empty: WireOutputItem = {
      type: 'function_call',
      id: newId('fc_'),
      call_id: newId('call_'),
      name: call.name,
      arguments: '',
      status: 'in_progress',
    };
    const item: WireOutputItem = { ...empty, arguments: call.arguments, status: 'completed' };
    this.#items.push(item);
    const place = { item_id: item.id, output_index: index };
    const arguments_ = call.arguments;
    yield { type: 'response.output_item.added', output_index: index, item: empty };
    yield { type: 'response.function_call_arguments.delta', ...place, delta: arguments_ };
    yield {
      type: 'response.function_call_arguments.done',
      ...place,
      name: call.name,
      arguments: arguments_,
    };
    yield { type: 'response.output_item.done', output_index: index, item };
  }

  /** Ends the answer, which has at least one item. */
  *end(status: 'completed' | 'incomplete'): Iterable<ResponseEvent> {
    if (this.#items.length === 0) yield* this.#enter('message');
    yield* this.close(status);
  }

  /** Closes the item that is open. */
  *close(status: 'completed' | 'incomplete'): Iterable<ResponseEvent> {
    if (!this.#open) return;
    const { item, part, index } = this.#open;
    this.#open = undefined;
    this.#tellLogprobs(part);
    item.status = status;
    const place = placeOf(item, index);
    yield part.type === 'reasoning_text'
      ? { type: 'response.reasoning_text.done', ...place, text: part.text }
      : { type: 'response.output_text.done', ...place, text: part.text, logprobs: part.logprobs };
    yield { type: 'response.content_part.done', ...place, part: structuredClone(part) };
    yield {
      type: 'response.output_item.done',
      output_index: index,
      item: structuredClone<WireOutputItem>(item),
    };
  }

  #tellLogprobs(part: WirePart): readonly WireTokenLogprob[] {
    if (part.type !== 'output_text') return [];
    const logprobs = this.#logprobs;
    this.#logprobs = [];
    part.logprobs.push(...logprobs);
    return logprobs;
  }

  /** Opens an item of a type, unless it is open. */
  *#enter(type: TextItem['type']): Iterable<ResponseEvent> {
    if (this.#open?.item.type === type) return;
    yield* this.close('completed');
    const index = this.#items.length;
    const item: TextItem =
      type === 'message'
        ? { type, id: newId('msg_'), role: 'assistant', status: 'in_progress', content: [] }
        : { type, id: newId('rs_'), status: 'in_progress', summary: [], content: [] };
    yield {
      type: 'response.output_item.added',
      output_index: index,
      item: structuredClone<WireOutputItem>(item),
    };
    const part: WirePart =
      type === 'message'
        ? { type: 'output_text', text: '', annotations: [], logprobs: [] }
        : { type: 'reasoning_text', text: '' };
    item.content.push(part);
    this.#items.push(item);
    this.#open = { index, item, part };
    yield {
      type: 'response.content_part.added',
      ...placeOf(item, index),
      part: structuredClone(part),
    };
  }
}

function placeOf({ id }: TextItem, index: number) {
  return { item_id: id, output_index: index, content_index: 0 };
}
