/** A model that computes nothing and whose every token a test lets go, for rare cases. */
import type { GenerateOptions, Prompt, TextEvent } from '../../src/loop-lm.js';
import type { ServedModel } from '../../src/serve/index.js';
import type { Model } from './server.js';

/** What a test decides about a fake. */
export interface FakeOptions {
  /** Resolves when a token may come. */
  readonly beforeToken?: (tokenIndex: number) => Promise<void>;
  readonly numTokens?: number;
  readonly text?: (tokenIndex: number) => string;
  /** Tokens of reasoning before the answer. */
  readonly numReasoning?: number;
  /** Thrown by `generate`. */
  readonly fails?: Error;
}

/** Calls of `generate` that are under way. */
export interface Fake {
  readonly model: ServedModel;
  readonly open: () => number;
}

/** Made like a real model, but for what it generates. */
export function fakeModel(like: Model, options: FakeOptions = {}): Fake {
  const { beforeToken = async () => {}, numTokens = 3, text = () => 'x', fails } = options;
  const { numReasoning = 0 } = options;
  let numOpen = 0;
  async function* generate(prompt: Prompt, given: GenerateOptions = {}): AsyncGenerator<TextEvent> {
    const { signal, maxNewTokens = numTokens } = given;
    const length = Math.min(numTokens, maxNewTokens);
    const aborted = new Promise<void>((resolve) => {
      signal?.addEventListener('abort', () => resolve());
    });
    const tokenIds: number[] = [];
    let whole = '';
    numOpen += 1;
    try {
      if (fails) throw fails;
      while (tokenIds.length < length && !signal?.aborted) {
        const tokenIndex = tokenIds.length;
        await Promise.race([beforeToken(tokenIndex), aborted]);
        if (signal?.aborted) break;
        tokenIds.push(5);
        whole += text(tokenIndex);
        const channel = tokenIndex < numReasoning ? 'reasoning' : 'answer';
        const piece = { text: text(tokenIndex), channel, exitDepth: 1 } as const;
        const place = { kind: 'token', promptIndex: 0, tokenIndex, tokenId: 5 } as const;
        yield { ...place, ...piece, logprob: -1 };
      }
      yield {
        kind: 'finish',
        promptIndex: 0,
        finishReason: signal?.aborted ? 'aborted' : 'stop-id',
        text: whole,
        reasoning: '',
        answer: whole,
        lastReasoning: '',
        lastPiece: '',
        tokenIds,
        exitDepths: tokenIds.map(() => 1),
        meanDepth: 1,
        executedLoops: tokenIds.length,
        fullDepthLoops: 4 * tokenIds.length,
        cachedTokens: 0,
        draftedTokens: 0,
        acceptedTokens: 0,
        numPromptTokens: prompt.length,
        weightsVersion: 0,
      };
    } finally {
      numOpen -= 1;
    }
  }
  const model: ServedModel = {
    config: like.config,
    tokenizer: like.tokenizer,
    tokenizerConfig: like.tokenizerConfig,
    chatTemplate: undefined,
    eosTokenIds: like.eosTokenIds,
    samplingDefaults: {},
    thinksByDefault: false,
    generate,
    check: (prompt) => (typeof prompt === 'string' ? Array.from(prompt, () => 5) : prompt),
    chatPrompt: (messages) => ({ prompt: messages.at(-1)!.content, endIds: [] }),
    onStep: () => () => {},
    pause: async () => {},
    resume: () => {},
    clearPrefixes: () => {},
    updateWeights: async () => 1,
    get stats() {
      return like.stats;
    },
  };
  return { model, open: () => numOpen };
}

/** Promises that a test resolves. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Waits until something holds, looking often. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}
