/** `POST /v1/responses`: answers a conversation, in the words of OpenAI's newer API. Keeps nothing. */
import type { TextFinishEvent } from '../../loop-lm.js';
import { rolloutField } from '../answers/ends.js';
import { newId, unixSeconds } from '../answers/ids.js';
import { tokenLogprob } from '../answers/logprobs.js';
import { Pieces } from '../answers/pieces.js';
import type { ResponseEvent } from '../answers/response-events.js';
import { ResponseItems } from '../answers/response-events.js';
import { eventResponse } from '../answers/stream.js';
import { responseUsage } from '../answers/usage.js';
import { chatPrompt } from '../chat-messages.js';
import { badRequest, toApiError } from '../errors.js';
import type { Generation, GenerationPlan, SequenceEvent } from '../generation.js';
import { startGeneration } from '../generation.js';
import { answerOptions, randomSeed } from '../generation-options.js';
import { checkModel } from '../model-name.js';
import { responseConversation } from '../response-input.js';
import type { Server } from '../server.js';
import { sseEvent } from '../sse.js';
import type { ResponseBody, WireResponse } from '../wire/responses.js';
import { responseBodySchema, responseEventSchema, responseSchema } from '../wire/responses.js';
import { route } from './route.js';

export const responses = route({
  method: 'POST',
  path: '/v1/responses',
  summary: 'Answers a conversation; nothing of it is kept.',
  body: responseBodySchema,
  answer: responseSchema,
  chunk: responseEventSchema,
  async handle({ server, scope, body }) {
    checkModel(server, body.model);
    const conversation = responseConversation(body);
    const { prompt, endIds } = chatPrompt(server, conversation);
    const generation = startGeneration(server, scope, planOf(server, body, prompt, endIds));
    const answer = new ResponseAnswer(server, body, generation, conversation.takesCalls);
    if (body.stream) return eventResponse(server, generation, answer.stream());
    for await (const event of generation.events) {
      for (const _ of answer.take(event)) {
        // where the events lead is the answer
      }
    }
    return Response.json(answer.now());
  },
});

function planOf(
  server: Server,
  body: ResponseBody,
  prompt: string,
  endIds: readonly number[],
): GenerationPlan {
  const wantsLogprobs = hasLogprobs(body);
  for (const field of ['top_logprobs', 'loop_logprobs'] as const) {
    if (body[field] === undefined || wantsLogprobs) continue;
    throw badRequest(
      field,
      `${field} is given without log-probabilities; add message.output_text.logprobs to include.`,
    );
  }
  return {
    prompts: [prompt],
    numChoices: 1,
    seed: body.seed ?? randomSeed(),
    param: 'input',
    user: body.user,
    options: answerOptions(server, body, {
      maxNewTokens: body.max_output_tokens,
      topLogprobs: wantsLogprobs ? (body.top_logprobs ?? 0) : undefined,
      endIds,
    }),
  };
}

const hasLogprobs = ({ include = [] }: ResponseBody) => include.length > 0;

class ResponseAnswer {
  readonly #server: Server;
  readonly #body: ResponseBody;
  readonly #generation: Generation;
  readonly #pieces: Pieces;
  readonly #items = new ResponseItems();
  readonly #id = newId('resp_');
  readonly #createdAt = unixSeconds();
  #finish: TextFinishEvent | undefined;
  #error: WireResponse['error'] = null;
  #numEvents = 0;

  constructor(server: Server, body: ResponseBody, generation: Generation, takesCalls: boolean) {
    this.#server = server;
    this.#body = body;
    this.#generation = generation;
    this.#pieces = new Pieces(takesCalls);
  }

  /** The answer as server-sent events. */
  async *stream(): AsyncGenerator<string> {
    yield this.#sse({ type: 'response.created', response: this.now() });
    yield this.#sse({ type: 'response.in_progress', response: this.now() });
    try {
      for await (const event of this.#generation.events) {
        for (const step of this.take(event)) yield this.#sse(step);
      }
    } catch (error) {
      const { code, message } = toApiError(error);
      this.#error = { code, message };
    }
    const response = this.now();
    yield this.#sse({ type: `response.${response.status}`, response });
  }

  /** Adds an event; gives what that changes. */
  *take({ event }: SequenceEvent): Iterable<ResponseEvent> {
    const { reasoning, text, calls, token, finish } = this.#pieces.take(event);
    const wantsLogprobs = token && token.channel === 'answer' && hasLogprobs(this.#body);
    const logprobs = wantsLogprobs ? [tokenLogprob(this.#server.model.tokenizer, token)] : [];
    yield* this.#items.addReasoning(reasoning);
    yield* this.#items.addText(text, logprobs);
    for (const call of calls) yield* this.#items.addCall(call);
    if (!finish) return;
    this.#finish = finish;
    yield* this.#items.end(this.#isIncomplete ? 'incomplete' : 'completed');
  }

  /** The answer as far as it is. */
  now(): WireResponse {
    const { instructions, max_output_tokens, temperature, top_p, reasoning, user } = this.#body;
    const isOver = this.#finish !== undefined || this.#error !== null;
    const incomplete = this.#isIncomplete ? { reason: this.#incompleteReason } : null;
    return {
      id: this.#id,
      object: 'response',
      created_at: this.#createdAt,
      completed_at: isOver && !this.#error ? unixSeconds() : null,
      status: this.#status,
      error: this.#error,
      incomplete_details: incomplete,
      instructions: instructions ?? null,
      max_output_tokens: max_output_tokens ?? null,
      model: this.#server.settings.modelName,
      output: structuredClone([...this.#items.items]),
      parallel_tool_calls: true,
      previous_response_id: null,
      reasoning: { effort: reasoning?.effort ?? null, summary: null },
      store: false,
      background: false,
      temperature: temperature ?? null,
      top_p: top_p ?? null,
      text: { format: { type: 'text' } },
      tool_choice: this.#body.tool_choice ?? 'auto',
      tools: (this.#body.tools ?? []).map((tool) => ({ ...tool })),
      top_logprobs: this.#body.top_logprobs ?? 0,
      truncation: 'disabled',
      metadata: this.#body.metadata ?? {},
      user: user ?? null,
      usage: this.#finish ? responseUsage(this.#generation.usage.total()) : null,
      ...(this.#finish && rolloutField(this.#finish)),
    };
  }

  get #status(): WireResponse['status'] {
    if (this.#error) return 'failed';
    if (!this.#finish) return 'in_progress';
    return this.#isIncomplete ? 'incomplete' : 'completed';
  }

  get #isIncomplete(): boolean {
    const reason = this.#finish?.finishReason;
    return reason !== undefined && reason !== 'stop-id' && reason !== 'stop-string';
  }

  get #incompleteReason(): string {
    return this.#finish?.finishReason === 'aborted' ? 'aborted' : 'max_output_tokens';
  }

  #sse(event: ResponseEvent): string {
    return sseEvent({ ...event, sequence_number: this.#numEvents++ }, event.type);
  }
}
