/** Routes of TRL's server mode: its own of earlier versions, and what newer ones ask of vLLM's. */
import type { TokenLogprob } from '../../../engine/index.js';
import type { TextTokenEvent } from '../../../loop-lm.js';
import { finite } from '../../answers/logprobs.js';
import { chatPrompt, conversationOf } from '../../chat-messages.js';
import type { GenerationPlan } from '../../generation.js';
import { startGeneration } from '../../generation.js';
import { generationOptions, randomSeed } from '../../generation-options.js';
import type { Scope, Server } from '../../server.js';
import { maxModelLength } from '../../server.js';
import { checkTextLength } from '../../text-limit.js';
import { withoutNulls } from '../../wire/fields.js';
import type { TrlSampling, WireTrlGenerate } from '../../wire/trl.js';
import {
  serverInfoSchema,
  trlChatBodySchema,
  trlGenerateBodySchema,
  trlGenerateSchema,
  worldSizeSchema,
} from '../../wire/trl.js';
import { route } from '../route.js';

/** As TRL's. */
const DEFAULTS = { temperature: 1, max_tokens: 16, logprobs: 0 };

export const trlGenerate = route({
  method: 'POST',
  path: '/generate/',
  summary: "Continues prompts, for TRL's server mode.",
  isForTrainers: true,
  body: trlGenerateBodySchema,
  answer: trlGenerateSchema,
  handle: ({ server, scope, body }) => answer(server, scope, body, body.prompts, 'prompts'),
});

export const trlChat = route({
  method: 'POST',
  path: '/chat/',
  summary: "Answers conversations, for TRL's server mode.",
  isForTrainers: true,
  body: trlChatBodySchema,
  answer: trlGenerateSchema,
  handle({ server, scope, body }) {
    const { tools, chat_template_kwargs } = body;
    // calls are told from text by the trainer
    const shown = { tools, tool_choice: 'none', chat_template_kwargs } as const;
    const chats = body.messages.map((messages) => {
      return chatPrompt(server, conversationOf({ messages, ...shown }));
    });
    const prompts = chats.map(({ prompt }) => prompt);
    return answer(server, scope, body, prompts, 'messages', chats[0]!.endIds);
  },
});

async function answer(
  server: Server,
  scope: Scope,
  { generation_kwargs: more = {}, truncate_prompt_tokens: keep, ...given }: TrlSampling,
  prompts: GenerationPlan['prompts'],
  param: string,
  endIds: readonly number[] = [],
): Promise<Response> {
  const params = { ...DEFAULTS, ...given, ...withoutNulls(more) };
  const numChoices = params.n ?? 1;
  const options = generationOptions(server, params);
  const generation = startGeneration(server, scope, {
    prompts: keep === undefined ? prompts : prompts.map((one) => lastIds(server, one, keep, param)),
    numChoices,
    seed: params.seed ?? randomSeed(),
    param,
    options: {
      ...options,
      stopIds: [...(options.ignoreEos ? [] : endIds), ...(options.stopIds ?? [])],
      maxNewTokens: params.max_tokens,
      topLogprobs: params.logprobs,
    },
  });
  const size = prompts.length * numChoices;
  const tokens = Array.from({ length: size }, (): TextTokenEvent[] => []);
  for await (const { index, event } of generation.events) {
    if (event.kind === 'token') tokens[index]!.push(event);
  }
  const ranked = tokens.map((own) => own.map(rankedOf));
  const told: WireTrlGenerate = {
    prompt_ids: generation.promptIds.map((ids) => [...ids]),
    completion_ids: tokens.map((own) => own.map(({ tokenId }) => tokenId)),
    logprobs: ranked.map((own) => own.map((list) => list.map(({ logprob }) => finite(logprob)))),
    logprob_token_ids: ranked.map((own) => own.map((list) => list.map(({ tokenId }) => tokenId))),
    exit_depths: tokens.map((own) => own.map(({ exitDepth }) => exitDepth)),
  };
  return Response.json(told);
}

/** The end of a prompt, as token ids. */
function lastIds(
  { model, maxTextBytes }: Server,
  prompt: string | readonly number[],
  count: number,
  param: string,
): string | readonly number[] {
  if (typeof prompt !== 'string') return prompt.slice(-count);
  checkTextLength(prompt, maxTextBytes, param);
  // without a tokenizer the text is refused as every other one
  return model.tokenizer?.encode(prompt).slice(-count) ?? prompt;
}

export const getWorldSize = ['/get_world_size', '/get_world_size/'].map((path) =>
  route({
    method: 'GET',
    path,
    summary: 'Always 1: a server is one process.',
    isForTrainers: true,
    answer: worldSizeSchema,
    handle: () => Response.json({ world_size: 1 }),
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
    return Response.json({ vllm_config: { model_config: config, weight_transfer_config: null } });
  },
});

/** The token that was drawn and the most likely ones, falling; the token is always among them. */
function rankedOf({ tokenId, logprob, topLogprobs = [] }: TextTokenEvent): TokenLogprob[] {
  const own = { tokenId, logprob };
  return topLogprobs.some((top) => top.tokenId === tokenId)
    ? [...topLogprobs]
    : [...topLogprobs, own];
}
