/** `POST /v1/chat/completions`: answers a conversation. */
import { rolloutField, stopReason } from '../answers/ends.js';
import { newId, unixSeconds } from '../answers/ids.js';
import { tokenLogprob } from '../answers/logprobs.js';
import type { Piece } from '../answers/pieces.js';
import { Pieces, wireFinishReason } from '../answers/pieces.js';
import type { ChunkSource } from '../answers/stream.js';
import { chunkResponse } from '../answers/stream.js';
import { chatPrompt, conversationOf } from '../chat-messages.js';
import { badRequest } from '../errors.js';
import type { Generation, GenerationPlan, SequenceEvent } from '../generation.js';
import { startGeneration } from '../generation.js';
import { answerOptions, checkStreamOptions, randomSeed } from '../generation-options.js';
import { checkModel } from '../model-name.js';
import type { Server } from '../server.js';
import type {
  ChatBody,
  WireChatChoice,
  WireChatChunk,
  WireChatChunkChoice,
  WireChatCompletion,
  WireToolCall,
} from '../wire/chat.js';
import { chatBodySchema, chatChunkSchema, chatCompletionSchema } from '../wire/chat.js';
import { route } from './route.js';

export const chat = route({
  method: 'POST',
  path: '/v1/chat/completions',
  summary: 'Answers a conversation.',
  body: chatBodySchema,
  answer: chatCompletionSchema,
  chunk: chatChunkSchema,
  async handle({ server, scope, body }) {
    checkModel(server, body.model);
    checkStreamOptions(body);
    const conversation = conversationOf(body);
    const { prompt, endIds } = chatPrompt(server, conversation);
    const plan = planOf(server, body, prompt, endIds);
    const generation = startGeneration(server, scope, plan);
    const answer = new ChatAnswer(server, body, plan, generation, conversation.takesCalls);
    if (body.stream) return chunkResponse(server, generation, answer);
    for await (const event of generation.events) answer.take(event);
    return Response.json(answer.whole());
  },
});

function planOf(
  server: Server,
  body: ChatBody,
  prompt: string,
  endIds: readonly number[],
): GenerationPlan {
  const { max_completion_tokens: limit, max_tokens: oldLimit } = body;
  if (limit !== undefined && oldLimit !== undefined && limit !== oldLimit) {
    throw badRequest(
      'max_tokens',
      `max_tokens is ${oldLimit} and max_completion_tokens is ${limit}; give one of them.`,
    );
  }
  for (const field of ['top_logprobs', 'loop_logprobs'] as const) {
    if (body[field] === undefined || body.logprobs) continue;
    throw badRequest(field, `${field} is given without logprobs; set logprobs to true.`);
  }
  return {
    prompts: [prompt],
    numChoices: body.n ?? 1,
    seed: body.seed ?? randomSeed(),
    param: 'messages',
    user: body.user,
    options: answerOptions(server, body, {
      maxNewTokens: limit ?? oldLimit,
      topLogprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
      endIds,
    }),
  };
}

/** What one event adds to a choice. */
interface ChatPart extends Omit<WireChatChunkChoice, 'index' | 'delta'> {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly WireToolCall[];
}

class ChatAnswer implements ChunkSource {
  readonly #server: Server;
  readonly #body: ChatBody;
  readonly #generation: Generation;
  readonly #head: Pick<WireChatChunk, 'id' | 'created' | 'model' | 'prompt_token_ids'>;
  readonly #choices: { readonly pieces: Pieces; readonly parts: ChatPart[]; numCalls: number }[];

  constructor(
    server: Server,
    body: ChatBody,
    { numChoices }: GenerationPlan,
    generation: Generation,
    takesCalls: boolean,
  ) {
    this.#server = server;
    this.#body = body;
    this.#generation = generation;
    this.#head = {
      id: newId('chatcmpl-'),
      created: unixSeconds(),
      model: server.settings.modelName,
    };
    this.#choices = Array.from({ length: numChoices }, () => {
      return { pieces: new Pieces(takesCalls), parts: [], numCalls: 0 };
    });
  }

  /** Adds an event to the whole answer. */
  take({ index, event }: SequenceEvent): void {
    const { pieces, parts } = this.#choices[index]!;
    parts.push(this.#part(index, pieces.take(event)));
  }

  whole(): WireChatCompletion {
    return {
      ...this.#head,
      object: 'chat.completion',
      choices: this.#choices.map(({ parts }, index) => wholeChoice(index, parts)),
      usage: this.#generation.usage.total(),
      ...this.#promptIds(),
    };
  }

  *chunks({ index, event }: SequenceEvent): Iterable<WireChatChunk> {
    const part = this.#part(index, this.#choices[index]!.pieces.take(event));
    const { text, reasoning, calls, ...rest } = part;
    const isFirst = event.kind === 'token' && event.tokenIndex === 0;
    const delta: WireChatChunkChoice['delta'] = {
      ...(isFirst && { role: 'assistant' as const }),
      ...(reasoning !== '' && { reasoning, reasoning_content: reasoning }),
      ...((text !== '' || isFirst) && { content: text }),
      ...(calls.length > 0 && { tool_calls: [...calls] }),
    };
    yield this.#chunk([{ index, delta, ...rest }], isFirst ? this.#promptIds() : {});
  }

  *lastChunks(): Iterable<WireChatChunk> {
    if (!this.#body.stream_options?.include_usage) return;
    yield { ...this.#chunk([]), usage: this.#generation.usage.total() };
  }

  #chunk(choices: WireChatChunkChoice[], more: Partial<WireChatChunk> = {}): WireChatChunk {
    const usage = this.#body.stream_options?.include_usage ? { usage: null } : {};
    return { ...this.#head, object: 'chat.completion.chunk', choices, ...usage, ...more };
  }

  #promptIds(): Pick<WireChatChunk, 'prompt_token_ids'> {
    if (!this.#body.return_token_ids) return {};
    return { prompt_token_ids: [...this.#generation.promptIds[0]!] };
  }

  #part(index: number, { text, reasoning, calls, token, finish }: Piece): ChatPart {
    const { model } = this.#server;
    const choice = this.#choices[index]!;
    const { logprobs, return_token_ids: wantsIds, stop, stop_token_ids: stopIds } = this.#body;
    const { return_tokens_as_token_ids: byId } = this.#body;
    const stopStrings = typeof stop === 'string' ? [stop] : stop;
    const tokenizer = byId ? undefined : model.tokenizer;
    const content = token ? [tokenLogprob(tokenizer, token)] : [];
    return {
      text,
      reasoning,
      calls: calls.map((call): WireToolCall => {
        return { index: choice.numCalls++, id: newId('call_'), type: 'function', function: call };
      }),
      logprobs: logprobs ? { content } : null,
      finish_reason: finish ? finishReason(finish, choice.pieces) : null,
      stop_reason: finish ? stopReason(model, finish, { stopStrings, stopIds }) : null,
      ...(wantsIds && { token_ids: token ? [token.tokenId] : [] }),
      ...(finish && rolloutField(finish)),
    };
  }
}

function finishReason(finish: Parameters<typeof wireFinishReason>[0], pieces: Pieces) {
  const reason = wireFinishReason(finish);
  return reason === 'stop' && pieces.hasCalls ? 'tool_calls' : reason;
}

function wholeChoice(index: number, parts: readonly ChatPart[]): WireChatChoice {
  const { text: _, reasoning: __, calls: ___, ...last } = parts.at(-1)!;
  const text = parts.map((part) => part.text).join('');
  const reasoning = parts.map((part) => part.reasoning).join('') || null;
  const calls = parts.flatMap((part) => part.calls.map(({ index: ____, ...call }) => call));
  const logprobs = last.logprobs && { content: parts.flatMap((part) => part.logprobs!.content) };
  return {
    ...last,
    index,
    message: {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      refusal: null,
      reasoning,
      reasoning_content: reasoning,
      ...(calls.length > 0 && { tool_calls: calls }),
    },
    logprobs,
    ...(last.token_ids && { token_ids: parts.flatMap((part) => part.token_ids ?? []) }),
  };
}
