/** `POST /get_sequence_logprobs/`: scores what follows prompts, for distillation with TRL. */
import type { ScoredToken } from '../../../engine/index.js';
import { finite } from '../../answers/logprobs.js';
import { base64OfNumbers } from '../../answers/packed.js';
import { badRequest } from '../../errors.js';
import { startGeneration } from '../../generation.js';
import { generationOptions } from '../../generation-options.js';
import type { WirePackedSequenceLogprobs } from '../../wire/trl.js';
import {
  packedSequenceLogprobsSchema,
  sequenceLogprobsBodySchema,
  sequenceLogprobsSchema,
} from '../../wire/trl.js';
import { route } from '../route.js';

/** As TRL's. */
const DEFAULT_TOP_LOGPROBS = 100;

export const sequenceLogprobs = route({
  method: 'POST',
  path: '/get_sequence_logprobs/',
  summary: 'Scores token ids behind a prompt, for distillation with TRL.',
  isForTrainers: true,
  body: sequenceLogprobsBodySchema,
  answer: sequenceLogprobsSchema.or(packedSequenceLogprobsSchema),
  async handle({ server, scope, body }) {
    const { sequences, prompt_lengths: lengths, temperature, response_format, ...depths } = body;
    const { top_logprobs: count = DEFAULT_TOP_LOGPROBS, ...rest } = depths;
    checkLengths(sequences, lengths);
    const generation = startGeneration(server, scope, {
      prompts: sequences,
      numChoices: 1,
      seed: 0,
      param: 'sequences',
      options: {
        ...generationOptions(server, { ...rest, temperature: 0 }),
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
    return Response.json(
      response_format === 'binary' ? packed(scored, count) : lists(scored, count),
    );
  },
});

/** By sequence and token; where fewer tokens are told than asked for, the rest is filled up. */
function lists(scored: readonly (readonly ScoredToken[])[], count: number) {
  const each = <T>(of: (token: ScoredToken) => T) => scored.map((own) => own.map(of));
  return {
    logprobs: each((token) => topOf(token, count).map(({ logprob }) => finite(logprob))),
    logprob_token_ids: each((token) => topOf(token, count).map(({ tokenId }) => tokenId)),
    actual_logprobs: each(({ logprob }) => [finite(logprob!)]),
    actual_token_ids: each(({ tokenId }) => [tokenId]),
  };
}

const FILLER = { tokenId: 0, logprob: -Infinity };

function topOf({ topLogprobs = [] }: ScoredToken, count: number) {
  return Array.from({ length: count }, (_, n) => topLogprobs[n] ?? FILLER);
}

/** The same in arrays [sequences, tokens of the longest, count], and [.., .., 1] of the tokens that are there. */
function packed(
  scored: readonly (readonly ScoredToken[])[],
  count: number,
): WirePackedSequenceLogprobs {
  const lengths = scored.map((own) => own.length);
  const longest = Math.max(0, ...lengths);
  const filler: ScoredToken = { ...FILLER, topLogprobs: [] };
  const tokens = scored.flatMap((own) =>
    Array.from({ length: longest }, (_, n) => own[n] ?? filler),
  );
  const top = tokens.flatMap((token) => topOf(token, count));
  return {
    logprobs_b64: base64OfNumbers(Float32Array.from(top, ({ logprob }) => logprob)),
    token_ids_b64: base64OfNumbers(Int32Array.from(top, ({ tokenId }) => tokenId)),
    actual_logprobs_b64: base64OfNumbers(Float32Array.from(tokens, ({ logprob }) => logprob!)),
    actual_token_ids_b64: base64OfNumbers(Int32Array.from(tokens, ({ tokenId }) => tokenId)),
    shape: [scored.length, longest, count],
    completion_lengths: lengths,
  };
}

function checkLengths(sequences: readonly (readonly number[])[], lengths: readonly number[]): void {
  if (lengths.length !== sequences.length) {
    throw badRequest(
      'prompt_lengths',
      `prompt_lengths has ${lengths.length} entries for ${sequences.length} sequences; give one for each.`,
    );
  }
  for (const [index, length] of lengths.entries()) {
    if (length <= sequences[index]!.length) continue;
    throw badRequest(
      `prompt_lengths.${index}`,
      `prompt_lengths.${index} is ${length}, and the sequence has ${sequences[index]!.length} tokens; give its length at most.`,
    );
  }
}
