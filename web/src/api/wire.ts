/**
 * What the server sends, as far as the playground reads it. Names are those of the wire; `read.ts`
 * alone turns them into ours.
 */

export interface WireModel {
  readonly id: string;
  readonly max_model_len: number;
  readonly num_loops: number;
  readonly has_exit_gate: boolean;
  readonly exit_policy: string;
  readonly kv_policies: readonly string[];
  readonly has_chat_template: boolean;
  readonly has_reasoning: boolean;
  readonly examples?: readonly string[];
}

export interface WireCandidate {
  readonly token: string;
  readonly logprob: number;
}

/** As a list, or by token text as OpenAI's completions have it. */
export type WireCandidates = readonly WireCandidate[] | Readonly<Record<string, number>>;

export interface WireLoop {
  readonly exit_prob: number | null;
  readonly logprob: number;
  readonly top_logprobs: WireCandidates | null;
}

/** Of a chat: one token. */
export interface WireChatToken {
  readonly token: string;
  readonly token_id?: number;
  readonly logprob: number | null;
  readonly top_logprobs?: WireCandidates | null;
  readonly exit_depth?: number | null;
  readonly loops?: readonly WireLoop[] | null;
}

/** Of a completion: lists with an entry for each token. */
export interface WireCompletionTokens {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  readonly top_logprobs?: readonly (WireCandidates | null)[] | null;
  readonly text_offset?: readonly number[];
  readonly token_ids?: readonly number[];
  readonly exit_depths?: readonly (number | null)[];
  readonly loops?: readonly (readonly WireLoop[] | null)[] | null;
}

export interface WireUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly mean_depth?: number | null;
  readonly loops_run?: number;
  readonly loops_saved?: number;
}

export interface WireError {
  readonly message?: string;
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | number | null;
}

export interface WireChunk {
  readonly error?: WireError;
  readonly usage?: WireUsage | null;
  readonly choices?: readonly {
    readonly finish_reason?: string | null;
    /** Of a completion. */
    readonly text?: string;
    /** Of a chat. */
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning?: string | null;
      readonly reasoning_content?: string | null;
    };
    readonly logprobs?:
      | (Partial<WireCompletionTokens> & { readonly content?: readonly WireChatToken[] | null })
      | null;
  }[];
}
