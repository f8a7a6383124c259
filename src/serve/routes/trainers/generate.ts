/** `POST /inference/v1/generate`: token ids in, token ids out, with all that a trainer replays. */
import type { RolloutRecord, TokenLogprob } from '../../../engine/index.js';
import { exitLogProb } from '../../../engine/index.js';
import type { TextFinishEvent, TextTokenEvent } from '../../../loop-lm.js';
import { rolloutField } from '../../answers/ends.js';
import { newId } from '../../answers/ids.js';
import { finite } from '../../answers/logprobs.js';
import { packed } from '../../answers/packed.js';
import { wireFinishReason } from '../../answers/pieces.js';
import { promptLogprobs } from '../../answers/prompt-logprobs.js';
import type { ChunkSource } from '../../answers/stream.js';
import { chunkResponse } from '../../answers/stream.js';
import type { Generation, GenerationPlan, SequenceEvent } from '../../generation.js';
import { startGeneration } from '../../generation.js';
import { generationOptions, randomSeed } from '../../generation-options.js';
import { checkModel } from '../../model-name.js';
import type { Server } from '../../server.js';
import type { GenerateBody, WireGenerate, WireGenerateChoice } from '../../wire/trainers.js';
import { generateBodySchema, generateSchema } from '../../wire/trainers.js';
import { withoutNulls } from '../../wire/fields.js';
import { route } from '../route.js';

/** As vLLM's. */
const DEFAULTS = { temperature: 1, max_tokens: 16 };

export const generate = route({
  method: 'POST',
  path: '/inference/v1/generate',
  summary: 'Continues token ids, for trainers.',
  isForTrainers: true,
  body: generateBodySchema,
  answer: generateSchema,
  chunk: generateSchema,
  async handle({ server, scope, body }) {
    checkModel(server, body.model);
    const generation = startGeneration(server, scope, planOf(server, body));
    const answer = new GenerateAnswer(server, body, generation);
    if (body.stream) return chunkResponse(server, generation, answer);
    for await (const event of generation.events) answer.take(event);
    return Response.json(answer.whole());
  },
});

function planOf(server: Server, body: GenerateBody): GenerationPlan {
  const { token_ids, sampling_params, loop_logprobs: wantsLoops, priority, ...depths } = body;
  const params = { ...DEFAULTS, ...depths, ...withoutNulls(sampling_params) };
  const wantsRecord = wantsLoops || params.rollout;
  const isProcessed = server.settings.logprobsMode === 'processed_logprobs';
  const { temperature = DEFAULTS.temperature } = params;
  const isCooled = isProcessed && temperature > 0;
  return {
    prompts: [token_ids],
    numChoices: params.n ?? 1,
    seed: params.seed ?? randomSeed(),
    param: 'token_ids',
    options: {
      ...generationOptions(server, { ...params, loop_logprobs: undefined }),
      maxNewTokens: params.max_tokens,
      topLogprobs: params.logprobs,
      promptLogprobs: params.prompt_logprobs,
      ...(isCooled && { promptTemperature: temperature }),
      record: wantsRecord,
      priority: priority === undefined ? undefined : -priority,
    },
  };
}

/** What a choice has said since the last chunk. */
interface Choice {
  tokens: TextTokenEvent[];
  /** Tokens that earlier chunks had. */
  numTold: number;
  finish?: TextFinishEvent;
}

class GenerateAnswer implements ChunkSource {
  readonly #server: Server;
  readonly #body: GenerateBody;
  readonly #generation: Generation;
  readonly #id: string;
  readonly #choices: Choice[];
  #prompt: WireGenerate['prompt_logprobs'] = null;
  #weightsVersion: number;

  constructor(server: Server, body: GenerateBody, generation: Generation) {
    this.#server = server;
    this.#body = body;
    this.#generation = generation;
    this.#id = body.request_id ?? newId('gen-');
    const { n } = body.sampling_params;
    this.#choices = Array.from({ length: n ?? 1 }, () => ({ tokens: [], numTold: 0 }));
    this.#weightsVersion = server.model.stats.weightsVersion;
  }

  take({ index, event }: SequenceEvent): void {
    const choice = this.#choices[index]!;
    if (event.kind === 'finish') {
      choice.finish = event;
      this.#weightsVersion = Math.max(this.#weightsVersion, event.weightsVersion);
      return;
    }
    choice.tokens.push(event);
    if (index !== 0 || !event.promptTokens) return;
    const count = this.#body.sampling_params.prompt_logprobs ?? 0;
    this.#prompt = promptLogprobs(this.#server.model.tokenizer, event.promptTokens, count);
  }

  whole(): WireGenerate {
    const choices = this.#choices.map((choice, index) => this.#choice(index, choice));
    return this.#answer(choices, this.#prompt, this.#generation.usage.total());
  }

  *chunks(event: SequenceEvent): Iterable<WireGenerate> {
    this.take(event);
    const { index } = event;
    const choice = this.#choices[index]!;
    const part = this.#choice(index, choice);
    choice.numTold += choice.tokens.length;
    choice.tokens = [];
    yield this.#answer([part], this.#prompt, null);
    this.#prompt = null;
  }

  *lastChunks(): Iterable<WireGenerate> {
    yield this.#answer([], null, this.#generation.usage.total());
  }

  #answer(
    choices: readonly WireGenerateChoice[],
    prompt: WireGenerate['prompt_logprobs'],
    usage: WireGenerate['usage'],
  ): WireGenerate {
    return {
      request_id: this.#id,
      choices: [...choices],
      prompt_logprobs: prompt,
      usage,
      weights_version: this.#weightsVersion,
    };
  }

  #choice(index: number, { tokens, numTold, finish }: Choice): WireGenerateChoice {
    const { sampling_params: params, loop_logprobs: wantsLoops } = this.#body;
    const wantsRecord = this.#body.rollout ?? params.rollout;
    return {
      index,
      token_ids: tokens.map(({ tokenId }) => tokenId),
      logprobs:
        params.logprobs === undefined || params.logprobs === null
          ? null
          : { content: tokens.map(tokenLogprobs) },
      finish_reason: finish ? wireFinishReason(finish) : null,
      exit_depths: packed(
        tokens.map(({ exitDepth }) => exitDepth),
        numTold,
      ),
      ...(wantsLoops && finish?.rollout && loopsOf(finish.rollout)),
      ...(wantsRecord && finish && rolloutField(finish)),
    };
  }
}

const named = ({ tokenId, logprob }: TokenLogprob) => {
  return { token: `token_id:${tokenId}`, logprob: finite(logprob) };
};

function tokenLogprobs({ tokenId, logprob, topLogprobs = [] }: TextTokenEvent) {
  return { ...named({ tokenId, logprob }), top_logprobs: topLogprobs.map(named) };
}

/** What the loops of every token said, and how likely each exit was by the gate. */
function loopsOf({ loopLogprobs, gateLogits, exitDepths, numLoops }: RolloutRecord) {
  return {
    loop_logprobs: loopLogprobs.map((row) => row.map(finite)),
    gate_logits: gateLogits?.map((row) => [...row]) ?? null,
    exit_logprobs:
      gateLogits?.map((row, n) => finite(exitLogProb(row, exitDepths[n]!, numLoops))) ?? null,
  };
}
