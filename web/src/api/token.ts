/** A token with all that is known of it, and the model it comes from. Plain data, no wire names. */

export interface Model {
  readonly id: string;
  /** Most tokens of prompt and answer together. */
  readonly maxModelLen: number;
  readonly numLoops: number;
  readonly hasExitGate: boolean;
  /** The exit policy of a request that names none. */
  readonly exitPolicy: string;
  readonly kvPolicies: readonly string[];
  readonly hasChatTemplate: boolean;
  readonly examples: readonly string[];
}

/** A token that might have come, with its natural log-probability. */
export interface Candidate {
  readonly token: string;
  readonly logprob: number;
}

/** What the model would have said after one loop. */
export interface LoopReading {
  /** The gate's probability of stopping here, having come so far; null without a gate. */
  readonly exitProb: number | null;
  /** Of the token that was taken in the end. */
  readonly logprob: number;
  readonly top: readonly Candidate[];
}

export type Channel = 'prompt' | 'reasoning' | 'answer';

export interface Token {
  /** What it adds to the text: nothing, if it is a special token. */
  readonly text: string;
  /** What the server calls it, here and among candidates. */
  readonly name: string;
  readonly channel: Channel;
  /** 1 to `numLoops`; null for text that belongs to no decision, such as the first of a prompt. */
  readonly exitDepth: number | null;
  readonly logprob: number | null;
  readonly top: readonly Candidate[];
  /** One for each loop that was run and reported. */
  readonly loops: readonly LoopReading[];
  /** When it arrived, in milliseconds after the request was sent. */
  readonly atMs: number;
}

export interface Usage {
  readonly numPromptTokens: number;
  readonly numTokens: number;
  readonly meanDepth: number | null;
  /** Loops that were run, prompt included. */
  readonly loopsRun: number | null;
  readonly loopsSaved: number | null;
}
