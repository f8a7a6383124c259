/** The tokenizer over HTTP, for evaluators that have none of their own. */
import type { Tokenizer } from '../../tokenizer/index.js';
import { tokenName } from '../answers/token-names.js';
import { ApiError, badRequest } from '../errors.js';
import { checkModel } from '../model-name.js';
import type { Server } from '../server.js';
import { maxModelLength } from '../server.js';
import {
  detokenizeBodySchema,
  detokenizeSchema,
  tokenizeBodySchema,
  tokenizeSchema,
  tokenizerInfoSchema,
} from '../wire/server.js';
import { route } from './route.js';

export const tokenize = route({
  method: 'POST',
  path: '/tokenize',
  summary: 'Token ids of a text.',
  body: tokenizeBodySchema,
  answer: tokenizeSchema,
  handle({ server, body }) {
    checkModel(server, body.model);
    const tokenizer = tokenizerOf(server);
    const { add_special_tokens: addSpecialTokens = false, return_token_strs: wantsTexts } = body;
    const tokens = tokenizer.encode(body.prompt, { addSpecialTokens });
    return Response.json({
      tokens,
      count: tokens.length,
      max_model_len: maxModelLength(server),
      ...(wantsTexts && { token_strs: tokens.map((id) => tokenName(tokenizer, id).token) }),
    });
  },
});

export const detokenize = route({
  method: 'POST',
  path: '/detokenize',
  summary: 'Text of token ids.',
  body: detokenizeBodySchema,
  answer: detokenizeSchema,
  handle({ server, body }) {
    checkModel(server, body.model);
    const tokenizer = tokenizerOf(server);
    const unknown = body.tokens.find((id) => tokenizer.idToToken(id) === undefined);
    if (unknown !== undefined) {
      throw badRequest(
        'tokens',
        `tokens has ${unknown}, which is no id of this tokenizer; they are below ${tokenizer.vocabSize}.`,
      );
    }
    return Response.json({ prompt: tokenizer.decode(body.tokens) });
  },
});

export const tokenizerInfo = route({
  method: 'GET',
  path: '/tokenizer_info',
  summary: 'Special tokens and chat template.',
  answer: tokenizerInfoSchema,
  handle({ server }) {
    const { bosToken, eosToken, padToken, unkToken } = server.model.tokenizerConfig;
    return Response.json({
      vocab_size: tokenizerOf(server).vocabSize,
      bos_token: bosToken ?? null,
      eos_token: eosToken ?? null,
      pad_token: padToken ?? null,
      unk_token: unkToken ?? null,
      chat_template: server.chatTemplate?.source ?? null,
    });
  },
});

function tokenizerOf({ model }: Server): Tokenizer {
  if (model.tokenizer) return model.tokenizer;
  throw new ApiError(422, 'The model folder has no tokenizer.json; give token ids.', {
    code: 'no_tokenizer',
  });
}
