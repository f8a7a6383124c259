/** What the two measured processes are told, asked, and answer; how they run is in llama-cpp/peer.ts. */
import type { RemotePeer } from '../llama-cpp/peer.js';

/** Cached positions that tokens are decoded at. */
export const CONTEXT = 256;
export const PREFILL_TOKENS = 512;
/** Tokens of a decode that is timed, and of one during which memory is looked at. */
export const DECODED_TOKENS = 12;
/** Of looplm; see depth/schedule.ts. */
export const MEAN_DEPTHS: readonly number[] = [2, 2.5, 3, 4];
/** That looplm decodes under; `shared` asks for a model that was trained for it. */
export const KV_POLICIES = ['last-exited', 'per-loop'] as const;

export type EqualPeerRequest =
  /** Reads a prompt and gives its first token. */
  | { readonly ask: 'prefill' }
  /** @param round - from 0 */
  | { readonly ask: 'decode'; readonly round: number }
  /** What decoding needs of the process's memory. */
  | { readonly ask: 'memory' };

/** By what was measured: milliseconds a token, a prefill; bytes. */
export type EqualPeerAnswer = Readonly<Record<string, readonly number[]>>;

export type EqualPeer = RemotePeer<EqualPeerRequest, EqualPeerAnswer>;

export const decodeName = (kvPolicy: string, meanDepth: number) =>
  `${kvPolicy}, mean depth ${meanDepth}`;
