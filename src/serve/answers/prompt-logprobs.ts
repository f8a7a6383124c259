/** Scores of a prompt as vLLM tells them: by the id of the token, with ranks. */
import type { ScoredToken } from '../../engine/index.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import type { WirePromptLogprobs } from '../wire/logprobs.js';
import { finite } from './logprobs.js';
import { tokenName } from './token-names.js';

/** The token that is there, and the most likely ones; null for the first token. */
export function promptLogprobs(
  tokenizer: Tokenizer | undefined,
  tokens: readonly ScoredToken[],
  count: number,
): WirePromptLogprobs {
  return tokens.map(({ tokenId, logprob, topLogprobs = [] }) => {
    if (logprob === undefined) return null;
    const ranked = topLogprobs.slice(0, count).map((top, index) => ({ ...top, rank: index + 1 }));
    const isAmong = ranked.some((top) => top.tokenId === tokenId);
    // behind all that are told, by as much as is known
    const own = { tokenId, logprob, rank: ranked.length + 1 };
    return Object.fromEntries(
      [...ranked, ...(isAmong ? [] : [own])].map((top) => [
        String(top.tokenId),
        {
          logprob: finite(top.logprob),
          rank: top.rank,
          decoded_token: tokenizer ? tokenName(tokenizer, top.tokenId).token : null,
        },
      ]),
    );
  });
}
