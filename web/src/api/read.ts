/**
 * From the server's words to ours: models, and the chunks of a stream as tokens.
 *
 * The one idea: a token's text is the text that came with it, not the text of the token alone, so
 * that letters which span tokens are right; a chunk of many tokens is cut at their offsets.
 */
import type { Candidate, Channel, LoopReading, Model, Token, Usage } from './token.js';
import type {
  WireCandidates,
  WireChatToken,
  WireChunk,
  WireCompletionTokens,
  WireLoop,
  WireModel,
  WireUsage,
} from './wire.js';

export function readModel(wire: WireModel): Model {
  return {
    id: wire.id,
    maxModelLen: wire.max_model_len,
    numLoops: wire.num_loops,
    hasExitGate: wire.has_exit_gate,
    exitPolicy: wire.exit_policy,
    kvPolicies: wire.kv_policies,
    hasChatTemplate: wire.has_chat_template,
    examples: wire.examples ?? [],
  };
}

export function readUsage(wire: WireUsage): Usage {
  return {
    numPromptTokens: wire.prompt_tokens,
    numTokens: wire.completion_tokens,
    meanDepth: wire.mean_depth ?? null,
    loopsRun: wire.loops_run ?? null,
    loopsSaved: wire.loops_saved ?? null,
  };
}

function readCandidates(wire: WireCandidates | null | undefined): Candidate[] {
  if (!wire) return [];
  const list = Array.isArray(wire)
    ? (wire as readonly Candidate[])
    : Object.entries(wire).map(([token, logprob]) => ({ token, logprob: logprob as number }));
  return list
    .map(({ token, logprob }) => ({ token, logprob }))
    .toSorted((a, b) => b.logprob - a.logprob);
}

function readLoops(wire: readonly WireLoop[] | null | undefined): LoopReading[] {
  return (wire ?? []).map(({ exit_prob, logprob, top_logprobs }) => ({
    exitProb: exit_prob,
    logprob,
    top: readCandidates(top_logprobs),
  }));
}

/** Reads the chunks of one answer in their order. */
export interface ChunkReader {
  /** The tokens that a chunk brings, `atMs` after the request. */
  tokens(chunk: WireChunk, atMs: number): Token[];
}

/** Of a chat: a token is reasoning or answer by the field that its text came in. */
export function chatReader(): ChunkReader {
  let channel: Channel = 'answer';
  return {
    tokens(chunk, atMs) {
      const choice = chunk.choices?.[0];
      const reasoning = choice?.delta?.reasoning ?? choice?.delta?.reasoning_content ?? '';
      const content = choice?.delta?.content ?? '';
      const wire = choice?.logprobs?.content ?? [];
      if (reasoning !== '' && content !== '') {
        // one token may close the reasoning and begin the answer: it belongs to the answer
        channel = 'answer';
        return [
          textAlone(reasoning, 'reasoning', atMs),
          ...chatTokens(content, wire, channel, atMs),
        ];
      }
      if (reasoning !== '') channel = 'reasoning';
      else if (content !== '') channel = 'answer';
      return chatTokens(reasoning + content, wire, channel, atMs);
    },
  };
}

function chatTokens(
  text: string,
  wire: readonly WireChatToken[],
  channel: Channel,
  atMs: number,
): Token[] {
  if (wire.length === 0) return text === '' ? [] : [textAlone(text, channel, atMs)];
  const pieces = splitText(
    text,
    wire.map(({ token }) => token),
  );
  return wire.map((token, index) => ({
    text: pieces[index]!,
    name: token.token,
    channel,
    exitDepth: token.exit_depth ?? null,
    logprob: token.logprob,
    top: readCandidates(token.top_logprobs),
    loops: readLoops(token.loops),
    atMs,
  }));
}

/** Of a completion; with an echo, what comes before the end of the prompt is the prompt. */
export function completionReader(promptLength: number): ChunkReader {
  let seen = 0;
  return {
    tokens(chunk, atMs) {
      const choice = chunk.choices?.[0];
      const text = choice?.text ?? '';
      const { tokens = [], ...lists } = choice?.logprobs ?? {};
      const pieces = tokens.length === 0 && text !== '' ? [text] : splitText(text, tokens);
      return pieces.map((piece, index) => {
        const channel = seen < promptLength ? 'prompt' : 'answer';
        seen += piece.length;
        return completionToken(
          { text: piece, name: tokens[index] ?? piece, channel },
          lists,
          index,
          atMs,
        );
      });
    },
  };
}

function completionToken(
  what: Pick<Token, 'text' | 'name' | 'channel'>,
  lists: Partial<WireCompletionTokens>,
  index: number,
  atMs: number,
): Token {
  return {
    ...what,
    exitDepth: lists.exit_depths?.[index] ?? null,
    logprob: lists.token_logprobs?.[index] ?? null,
    top: readCandidates(lists.top_logprobs?.[index]),
    loops: readLoops(lists.loops?.[index]),
    atMs,
  };
}

function textAlone(text: string, channel: Channel, atMs: number): Token {
  return { text, name: text, channel, exitDepth: null, logprob: null, top: [], loops: [], atMs };
}

/**
 * The text of a chunk, shared among its tokens by their names. A name that is not in the text is one
 * of special tokens, which have none, or of bytes that only together are a letter: the first such
 * token in a row gets the letter.
 */
function splitText(text: string, names: readonly string[]): readonly string[] {
  if (names.length <= 1) return names.map(() => text);
  const pieces = names.map(() => '');
  let place = 0;
  let firstUnfound: number | undefined;
  for (const [index, name] of names.entries()) {
    const found = text.indexOf(name, place);
    const skipped = firstUnfound === undefined ? 0 : index - firstUnfound;
    if (name === '' || found < 0 || found - place > skipped) {
      firstUnfound ??= index;
      continue;
    }
    if (firstUnfound !== undefined) pieces[firstUnfound] = text.slice(place, found);
    pieces[index] = name;
    place = found + name.length;
    firstUnfound = undefined;
  }
  pieces[firstUnfound ?? names.length - 1] += text.slice(place);
  return pieces;
}
