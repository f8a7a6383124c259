/**
 * Log-probabilities and depths of tokens, as chat (a list of objects) and completions (lists side by
 * side) tell them. The same float stands wherever the same number is meant.
 */
import type { LoopDetail, ScoredToken, TokenLogprob } from '../../engine/index.js';
import type { TextTokenEvent } from '../../loop-lm.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import type {
  WireCompletionLogprobs,
  WireLoop,
  WireTokenLogprob,
  WireTopLogprob,
} from '../wire/logprobs.js';
import { tokenName } from './token-names.js';

/** JSON has no -Infinity; this is what OpenAI has in its place. */
const LEAST_LOGPROB = -9999;

/** A log-probability as JSON can tell it. */
export const finite = (logprob: number) => (Number.isFinite(logprob) ? logprob : LEAST_LOGPROB);
const sigmoid = (logit: number) => 1 / (1 + Math.exp(-logit));

/** Entries of one token in the list of chat. */
export function tokenLogprob(
  tokenizer: Tokenizer | undefined,
  event: TextTokenEvent,
): WireTokenLogprob {
  const { tokenId, logprob, topLogprobs = [], exitDepth, loops } = event;
  return {
    ...topLogprob(tokenizer, { tokenId, logprob }),
    top_logprobs: topLogprobs.map((top) => topLogprob(tokenizer, top)),
    exit_depth: exitDepth,
    ...(loops && { loops: loops.map((loop) => wireLoop(tokenizer, loop)) }),
  };
}

function topLogprob(
  tokenizer: Tokenizer | undefined,
  { tokenId, logprob }: TokenLogprob,
): WireTopLogprob {
  const { token, bytes } = tokenName(tokenizer, tokenId);
  return { token, token_id: tokenId, bytes: bytes && [...bytes], logprob: finite(logprob) };
}

function wireLoop(tokenizer: Tokenizer | undefined, loop: LoopDetail): WireLoop {
  return {
    exit_prob: loop.gateLogit === undefined ? null : sigmoid(loop.gateLogit),
    logprob: finite(loop.logprob),
    top_logprobs: loop.topLogprobs.map((top) => topLogprob(tokenizer, top)),
  };
}

/**
 * Lists of completions for some tokens in a row; `offset` is where the text of the first begins, `count`
 * how many alternatives are told.
 */
export function completionLogprobs(
  tokenizer: Tokenizer | undefined,
  tokens: readonly (ScoredToken | TextTokenEvent)[],
  offset: number,
  count = 0,
): WireCompletionLogprobs {
  const names = tokens.map(({ tokenId }) => tokenName(tokenizer, tokenId).token);
  let place = offset;
  const offsets = names.map((name) => {
    const start = place;
    place += name.length;
    return start;
  });
  const loops = tokens.map((token) => ('loops' in token ? token.loops : undefined));
  return {
    tokens: names,
    token_logprobs: tokens.map(({ logprob }) => (logprob === undefined ? null : finite(logprob))),
    top_logprobs: tokens.map((token) => topByText(tokenizer, token, count)),
    text_offset: offsets,
    token_ids: tokens.map(({ tokenId }) => tokenId),
    exit_depths: tokens.map(({ exitDepth }) => exitDepth ?? null),
    ...(loops.some((some) => some) && {
      loops: loops.map((some) => some?.map((loop) => wireLoop(tokenizer, loop)) ?? null),
    }),
  };
}

/** The most likely tokens and the token itself; null for a token that has no log-probability. */
function topByText(
  tokenizer: Tokenizer | undefined,
  { tokenId, logprob, topLogprobs = [] }: ScoredToken | TextTokenEvent,
  count: number,
): Record<string, number> | null {
  if (logprob === undefined) return null;
  const all = [...topLogprobs.slice(0, count), { tokenId, logprob }];
  return Object.fromEntries(
    all.map((top) => [tokenName(tokenizer, top.tokenId).token, finite(top.logprob)]),
  );
}

/** Lists of completions one after the other; null for none. */
export function joinLogprobs(
  parts: readonly WireCompletionLogprobs[],
): WireCompletionLogprobs | null {
  if (parts.length === 0) return null;
  const hasLoops = parts.some(({ loops }) => loops);
  return {
    tokens: parts.flatMap(({ tokens }) => tokens),
    token_logprobs: parts.flatMap((part) => part.token_logprobs),
    top_logprobs: parts.flatMap((part) => part.top_logprobs),
    text_offset: parts.flatMap((part) => part.text_offset),
    token_ids: parts.flatMap((part) => part.token_ids),
    exit_depths: parts.flatMap((part) => part.exit_depths),
    ...(hasLoops && {
      loops: parts.flatMap(({ loops, tokens }) => loops ?? tokens.map(() => null)),
    }),
  };
}
