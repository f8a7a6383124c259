/**
 * What keys and values take by KV policy: counted here for the cost of a token, the memory plan and the
 * pages of the engine alike. How one row is stored is the business of util/kv-dtype.ts.
 * Source: docs/math.md (cost).
 */
import type { KvDtype } from '../util/kv-dtype.js';
import { kvPositionBytes } from '../util/kv-dtype.js';
import type { LoopLMConfig } from './config.js';

/** How a query reads the cache of tokens that exited at other depths. */
export const KV_POLICIES = ['per-loop', 'last-exited', 'shared'] as const;

/** Name of a KV policy. */
export type KvPolicy = (typeof KV_POLICIES)[number];

/** Bytes of one position in one plane, in all layers. */
export function kvPlaneBytes(
  { numHiddenLayers, numKeyValueHeads, headDim }: LoopLMConfig,
  dtype: KvDtype,
): number {
  return numHiddenLayers * kvPositionBytes({ numKvHeads: numKeyValueHeads, headDim, dtype });
}

/**
 * Planes of a sequence of full depth: while its prompt runs, and from then on. Planes are taken when a
 * token goes that deep, so these are the most that there can be.
 */
export function kvPlanes(
  policy: KvPolicy,
  numLoops: number,
): { readonly inPrompt: number; readonly kept: number } {
  return { inPrompt: numLoops, kept: policy === 'shared' ? 1 : numLoops };
}

/** Bytes of one position once its prompt has run, by policy. */
export function kvBytesPerPosition(
  config: LoopLMConfig,
  numLoops: number,
  dtype: KvDtype,
): Readonly<Record<KvPolicy, number>> {
  const bytes = (policy: KvPolicy) => kvPlanes(policy, numLoops).kept * kvPlaneBytes(config, dtype);
  return {
    'per-loop': bytes('per-loop'),
    'last-exited': bytes('last-exited'),
    shared: bytes('shared'),
  };
}
