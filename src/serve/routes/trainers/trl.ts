/** Routes of TRL's server mode: its own of earlier versions, and what newer ones ask of vLLM's. */
import type { ScoredToken, TokenLogprob } from '../../../engine/index.js';
import type { TextTokenEvent } from '../../../loop-lm.js';
import { badRequest } from '../../errors.js';
import { finite } from '../../answers/logprobs.js';
import { startGeneration } from '../../generation.js';
import { generationOptions, randomSeed } from '../../generation-options.js';
import { maxModelLength } from '../../server.js';
import { withoutNulls } from '../../wire/fields.js';
import { statusSchema } from '../../wire/server.js';
import type { WireTrlGenerate } from '../../wire/trainers.js';
import {
  sequenceLogprobsBodySchema,
  sequenceLogprobsSchema,
  serverInfoSchema,
  trlGenerateBodySchema,
  trlGenerateSchema,
  worldSizeSchema,
} from '../../wire/trainers.js';
import { route } from '../route.js';

/** As TRL's. */
const DEFAULTS = { temperature: 1, max_tokens: 16, logprobs: 0 };
const DEFAULT_TOP_LOGPROBS = 100;

export const trlGenerate = route({
  method: 'POST',
  path: '/generate/',
  summary: "Continues prompts, for TRL's server mode.",
  isForTrainers: true,
  body: trlGenerateBodySchema,
  answer: trlGenerateSchema,
  async handle({ server, scope, body }) {
    const { prompts, generation_kwargs: more = {}, ...given } = body;
    const params = { ...DEFAULTS, ...given, ...withoutNulls(more) };
    const generation = startGeneration(server, scope, {
      prompts,
      numChoices: params.n ?? 1,
      seed: ('seed' in params ? params.seed : undefined) ?? randomSeed(),
      param: 'prompts',
      options: {
        ...generationOptions(server.model, params),
        maxNewTokens: params.max_tokens,
        topLogprobs: params.logprobs,
      },
    });
    const size = prompts.length * (params.n ?? 1);
    const tokens = Array.from({ length: size }, (): TextTokenEvent[] => []);
    for await (const { index, event } of generation.events) {
      if (event.kind === 'token') tokens[index]!.push(event);
    }
    const ranked = tokens.map((own) => own.map(rankedOf));
    const answer: WireTrlGenerate = {
      prompt_ids: generation.promptIds.map((ids) => [...ids]),
      completion_ids: tokens.map((own) => own.map(({ tokenId }) => tokenId)),
      logprobs: ranked.map((own) => own.map((list) => list.map(({ logprob }) => finite(logprob)))),
      logprob_token_ids: ranked.map((own) => own.map((list) => list.map(({ tokenId }) => tokenId))),
      exit_depths: tokens.map((own) => own.map(({ exitDepth }) => exitDepth)),
    };
    return Response.json(answer);
  },
});

export const sequenceLogprobs = route({
  method: 'POST',
  path: '/get_sequence_logprobs/',
  summary: 'Scores token ids behind a prompt, for distillation with TRL.',
  isForTrainers: true,
  body: sequenceLogprobsBodySchema,
  answer: sequenceLogprobsSchema,
  async handle({ server, scope, body }) {
    const { sequences, prompt_lengths: lengths, temperature, ...depths } = body;
    const { top_logprobs: count = DEFAULT_TOP_LOGPROBS, ...rest } = depths;
    checkLengths(sequences, lengths);
    const generation = startGeneration(server, scope, {
      prompts: sequences,
      numChoices: 1,
      seed: 0,
      param: 'sequences',
      options: {
        ...generationOptions(server.model, { ...rest, temperature: 0 }),
        // a token has to be drawn to score what is before it
        maxNewTokens: 1,
        promptLogprobs: count,
        promptTemperature: temperature,
      },
    });
    const scored: (readonly ScoredToken[])[] = [];
    for await (const { index, event } of generation.events) {
      if (event.kind === 'token') scored[index] = event.promptTokens!.slice(lengths[index]);
    }
    const padded = <T>(list: readonly T[], filler: T) =>
      Array.from({ length: count }, (_, n) => list[n] ?? filler);
    const each = <T>(of: (token: ScoredToken) => T) => scored.map((own) => own.map(of));
    return Response.json({
      logprobs: each(({ topLogprobs = [] }) =>
        padded(
          topLogprobs.map(({ logprob }) => finite(logprob)),
          LEAST,
        ),
      ),
      logprob_token_ids: each(({ topLogprobs = [] }) =>
        padded(
          topLogprobs.map(({ tokenId }) => tokenId),
          0,
        ),
      ),
      actual_logprobs: each(({ logprob }) => [finite(logprob!)]),
      actual_token_ids: each(({ tokenId }) => [tokenId]),
    });
  },
});

export const trlHealth = route({
  method: 'GET',
  path: '/health/',
  summary: 'Answers while the server lives.',
  isOpen: true,
  answer: statusSchema,
  handle: () => Response.json({ status: 'ok' }),
});

const worldSize = { world_size: 1 };

export const getWorldSize = ['/get_world_size', '/get_world_size/'].map((path) =>
  route({
    method: 'GET',
    path,
    summary: 'Always 1: a server is one process.',
    isForTrainers: true,
    answer: worldSizeSchema,
    handle: () => Response.json(worldSize),
  }),
);

export const serverInfo = route({
  method: 'GET',
  path: '/server_info',
  summary: 'What TRL asks of the configuration.',
  isForTrainers: true,
  answer: serverInfoSchema,
  handle({ server }) {
    const { modelName: model, logprobsMode } = server.settings;
    const config = { model, max_model_len: maxModelLength(server), logprobs_mode: logprobsMode };
    return Response.json({ vllm_config: { model_config: config } });
  },
});

const LEAST = finite(-Infinity);

/** The token that was drawn and the most likely ones, falling; the token is always among them. */
function rankedOf({ tokenId, logprob, topLogprobs = [] }: TextTokenEvent): TokenLogprob[] {
  const own = { tokenId, logprob };
  return topLogprobs.some((top) => top.tokenId === tokenId)
    ? [...topLogprobs]
    : [...topLogprobs, own];
}

function checkLengths(sequences: readonly (readonly number[])[], lengths: readonly number[]): void {
  if (lengths.length !== sequences.length) {
    throw badRequest(
      'prompt_lengths',
      `prompt_lengths has ${lengths.length} entries for ${sequences.length} sequences; give one for each.`,
    );
  }
  for (const [index, length] of lengths.entries()) {
    if (length < sequences[index]!.length) continue;
    throw badRequest(
      `prompt_lengths.${index}`,
      `prompt_lengths.${index} is ${length}, and the sequence has ${sequences[index]!.length} tokens; some must follow the prompt.`,
    );
  }
}
