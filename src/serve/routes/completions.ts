/** `POST /v1/completions`: continues prompts as they stand. */
import type { ScoredToken } from '../../engine/index.js';
import type { TextTokenEvent } from '../../loop-lm.js';
import { rolloutField, stopReason } from '../answers/ends.js';
import { newId, unixSeconds } from '../answers/ids.js';
import { completionLogprobs, joinLogprobs } from '../answers/logprobs.js';
import { promptLogprobs } from '../answers/prompt-logprobs.js';
import type { Piece } from '../answers/pieces.js';
import { Pieces, wireFinishReason } from '../answers/pieces.js';
import type { ChunkSource } from '../answers/stream.js';
import { chunkResponse } from '../answers/stream.js';
import { knownText } from '../answers/token-names.js';
import { badRequest } from '../errors.js';
import type { Generation, GenerationPlan, SequenceEvent } from '../generation.js';
import { startGeneration } from '../generation.js';
import { checkStreamOptions, generationOptions, randomSeed } from '../generation-options.js';
import { checkModel } from '../model-name.js';
import type { Server } from '../server.js';
import type { CompletionBody, WireCompletion, WireCompletionChoice } from '../wire/completions.js';
import { completionBodySchema, completionSchema } from '../wire/completions.js';
import type { WireCompletionLogprobs } from '../wire/logprobs.js';
import type { WireUsage } from '../wire/usage.js';
import { route } from './route.js';

/** As OpenAI's. */
const DEFAULT_MAX_TOKENS = 16;

export const completions = route({
  method: 'POST',
  path: '/v1/completions',
  summary: 'Continues one or several prompts.',
  body: completionBodySchema,
  answer: completionSchema,
  chunk: completionSchema,
  async handle({ server, scope, body }) {
    checkModel(server, body.model);
    checkStreamOptions(body);
    const plan = planOf(server, body);
    const generation = startGeneration(server, scope, plan);
    const answer = new CompletionAnswer(server, body, plan, generation);
    if (body.stream) return chunkResponse(server, generation, answer);
    for await (const event of generation.events) answer.take(event);
    return Response.json(answer.whole());
  },
});

function planOf(server: Server, body: CompletionBody): GenerationPlan {
  const { echo = false, max_tokens: maxTokens = DEFAULT_MAX_TOKENS, logprobs } = body;
  if (maxTokens === 0 && !echo) {
    throw badRequest('max_tokens', 'max_tokens is 0, which needs echo; ask for 1 or more.');
  }
  if (body.loop_logprobs !== undefined && logprobs === undefined) {
    throw badRequest('loop_logprobs', 'loop_logprobs is given without logprobs; set logprobs.');
  }
  return {
    prompts: promptsOf(body.prompt),
    numChoices: body.n ?? 1,
    seed: body.seed ?? randomSeed(),
    param: 'prompt',
    user: body.user,
    options: {
      ...generationOptions(server, body),
      // a token has to be drawn to score a prompt; without room for it, it is dropped again
      maxNewTokens: Math.max(1, maxTokens),
      topLogprobs: logprobs,
      ...scoring(server, body),
    },
  };
}

/** How the prompt is scored, for those who want to see it or its most likely tokens. */
function scoring(
  { settings: { logprobsMode } }: Server,
  { echo, logprobs, prompt_logprobs: count, temperature = 1 }: CompletionBody,
): Pick<GenerationPlan['options'], 'promptLogprobs' | 'promptTemperature'> {
  const wanted = [
    ...(echo && logprobs !== undefined ? [logprobs] : []),
    ...(count === undefined ? [] : [count]),
  ];
  if (wanted.length === 0) return {};
  const isCooled = logprobsMode === 'processed_logprobs' && temperature > 0;
  return {
    promptLogprobs: Math.max(...wanted),
    ...(isCooled && { promptTemperature: temperature }),
  };
}

function promptsOf(prompt: CompletionBody['prompt']): readonly (string | readonly number[])[] {
  if (typeof prompt === 'string') return [prompt];
  return isTokenIds(prompt) ? [prompt] : prompt;
}

function isTokenIds(prompt: readonly unknown[]): prompt is readonly number[] {
  return prompt.every((part) => typeof part === 'number');
}

/** What an event adds to a choice. */
type ChoicePart = Omit<WireCompletionChoice, 'index'>;

class CompletionAnswer implements ChunkSource {
  readonly #server: Server;
  readonly #body: CompletionBody;
  readonly #plan: GenerationPlan;
  readonly #generation: Generation;
  readonly #head: Omit<WireCompletion, 'choices' | 'usage'>;
  readonly #choices: { readonly pieces: Pieces; readonly parts: ChoicePart[]; offset: number }[];

  constructor(server: Server, body: CompletionBody, plan: GenerationPlan, generation: Generation) {
    this.#server = server;
    this.#body = body;
    this.#plan = plan;
    this.#generation = generation;
    this.#head = {
      id: newId('cmpl-'),
      object: 'text_completion',
      created: unixSeconds(),
      model: server.settings.modelName,
    };
    this.#choices = Array.from({ length: plan.prompts.length * plan.numChoices }, () => {
      return { pieces: new Pieces(), parts: [], offset: 0 };
    });
  }

  /** Adds an event to the whole answer. */
  take({ index, event }: SequenceEvent): void {
    const { pieces, parts } = this.#choices[index]!;
    parts.push(this.#part(index, pieces.take(event)));
  }

  whole(): WireCompletion {
    const choices = this.#choices.map(({ parts }, index) => ({ index, ...joinParts(parts) }));
    return { ...this.#head, choices, usage: this.#usage() };
  }

  *chunks({ index, event }: SequenceEvent): Iterable<WireCompletion> {
    const part = this.#part(index, this.#choices[index]!.pieces.take(event));
    const usage = this.#body.stream_options?.include_usage ? { usage: null } : {};
    yield { ...this.#head, choices: [{ index, ...part }], ...usage };
  }

  *lastChunks(): Iterable<WireCompletion> {
    if (!this.#body.stream_options?.include_usage) return;
    yield { ...this.#head, choices: [], usage: this.#usage() };
  }

  /** Whether no new tokens are asked for. */
  get #scoresOnly(): boolean {
    return this.#body.max_tokens === 0;
  }

  #usage(): WireUsage {
    return this.#generation.usage.total(this.#scoresOnly ? this.#choices.length : 0);
  }

  #part(index: number, { text, token, finish }: Piece): ChoicePart {
    const { echo, logprobs, prompt_logprobs: count, return_token_ids: wantsIds } = this.#body;
    const isFirst = token?.tokenIndex === 0;
    const at = Math.floor(index / this.#plan.numChoices);
    const ownTokens = token && !this.#scoresOnly ? [token] : [];
    const ownText = this.#scoresOnly ? '' : text;
    const echoed = echo && isFirst ? (token.promptTokens ?? []) : [];
    return {
      text: echo && isFirst ? this.#promptText(at) + ownText : ownText,
      logprobs: logprobs === undefined ? null : this.#logprobs(index, [...echoed, ...ownTokens]),
      finish_reason: finish ? wireFinishReason(finish) : null,
      stop_reason: finish ? stopReason(this.#server.model, finish, this.#plan.options) : null,
      ...(count !== undefined &&
        token?.promptTokens && {
          prompt_logprobs: promptLogprobs(this.#server.model.tokenizer, token.promptTokens, count),
        }),
      ...(wantsIds && {
        ...(isFirst && { prompt_token_ids: [...this.#generation.promptIds[at]!] }),
        token_ids: ownTokens.map(({ tokenId }) => tokenId),
      }),
      ...(finish && rolloutField(finish)),
    };
  }

  #promptText(at: number): string {
    const prompt = this.#plan.prompts[at]!;
    return typeof prompt === 'string' ? prompt : knownText(this.#server.model.tokenizer, prompt);
  }

  #logprobs(
    index: number,
    tokens: readonly (ScoredToken | TextTokenEvent)[],
  ): WireCompletionLogprobs {
    const choice = this.#choices[index]!;
    const { return_tokens_as_token_ids: byId, logprobs: count } = this.#body;
    const tokenizer = byId ? undefined : this.#server.model.tokenizer;
    const lists = completionLogprobs(tokenizer, tokens, choice.offset, count);
    choice.offset += lists.tokens.reduce((sum, { length }) => sum + length, 0);
    return lists;
  }
}

function joinParts(parts: readonly ChoicePart[]): ChoicePart {
  const ids = parts.flatMap(({ token_ids }) => token_ids ?? []);
  const [first] = parts;
  const promptIds = first?.prompt_token_ids;
  return {
    ...parts.at(-1)!,
    ...(first?.prompt_logprobs && { prompt_logprobs: first.prompt_logprobs }),
    text: parts.map(({ text }) => text).join(''),
    logprobs: joinLogprobs(parts.flatMap(({ logprobs }) => logprobs ?? [])),
    ...(promptIds && { prompt_token_ids: promptIds }),
    ...(parts[0]?.token_ids && { token_ids: ids }),
  };
}
