/**
 * From raw rounds to the figures of one pair of formats.
 *
 * llama.cpp counts with its faster kind of attention, chosen for each figure. A looplm body is what
 * one more loop costs; a llama.cpp body is the time without the head, with the part of the
 * last layer that is then left out put back in proportion to its bytes.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RawRounds } from '../lib/harness.js';
import { median, medianRatio } from '../lib/harness.js';
import type { FormatPair } from './models.js';
import { KV_BYTES_PER_POSITION, SHAPE, loopLMModel } from './models.js';
import { skippedShare, weightBytesPerToken } from './random-llama.js';
import type { PairResult } from './report.js';

interface Measured {
  readonly raw: RawRounds;
  readonly setup: string;
  readonly contexts: readonly number[];
  readonly prefillTokens: number;
  readonly seed: number;
}

/** Embedding in f16: of its rows a token reads one. */
const EMBEDDING_BYTES = 2 * SHAPE.vocabSize * SHAPE.hiddenSize;

/** Rounds of the variant with the smallest median. */
function fastest(candidates: readonly (readonly number[])[]): readonly number[] {
  return candidates.reduce((best, next) => (median(next) < median(best) ? next : best));
}

/** The figures of a pair; times are milliseconds, speeds are looplm over llama.cpp. */
export async function summarize(pair: FormatPair, measured: Measured): Promise<PairResult> {
  const { raw, contexts, prefillTokens } = measured;
  const of = (side: string, variants: readonly string[], what: string) =>
    fastest(variants.map((variant) => raw[`${side}, ${variant}, ${what}`]!));
  const checkpoint = join(await loopLMModel(pair.looplm, measured.seed), 'model.safetensors');
  const looplmBytes = (await stat(checkpoint)).size - EMBEDDING_BYTES;
  const llamaBytes = weightBytesPerToken(SHAPE, pair.llama);
  const gigabytesPerSecond = Math.max(...raw['memory']!); // a roof
  const shareOfMemory = (milliseconds: readonly number[], bytes: number) =>
    bytes / 1e6 / median(milliseconds) / gigabytesPerSecond;

  const decode = contexts.map((context) => {
    const what = `decode at ${context}`;
    const kvBytes = context * KV_BYTES_PER_POSITION;
    const llama = of('llama.cpp', ['flash', 'plain'], what);
    const headless = of('llama.cpp', ['flash, no head', 'plain, no head'], what);
    const llamaBody = headless.map((time) => time / (1 - skippedShare(SHAPE)));
    const looplm = of('looplm', ['depth 1'], what);
    const deep = of('looplm', ['depth 2'], what);
    const looplmBody = deep.map((time, round) => time - looplm[round]!);
    return {
      context,
      llamaMs: median(llama),
      looplmMs: median(looplm),
      speed: medianRatio(llama, looplm),
      llamaBodyMs: median(llamaBody),
      looplmBodyMs: median(looplmBody),
      bodySpeed: medianRatio(llamaBody, looplmBody),
      llamaShareOfMemory: shareOfMemory(llama, llamaBytes + kvBytes),
      looplmShareOfMemory: shareOfMemory(looplm, looplmBytes + kvBytes),
    };
  });
  const llamaPrefill = of('llama.cpp', ['flash', 'plain'], 'prefill');
  const looplmPrefill = of('looplm', ['depth 1'], 'prefill');
  const perSecond = (times: readonly number[]) => (1000 * prefillTokens) / median(times);
  return {
    looplm: pair.looplm,
    llama: pair.llama.toUpperCase(),
    setup: measured.setup,
    gigabytesPerSecond,
    busyFraction: median(raw['busy']!),
    decode,
    prefill: {
      llamaTokensPerSecond: perSecond(llamaPrefill),
      looplmTokensPerSecond: perSecond(looplmPrefill),
      speed: medianRatio(llamaPrefill, looplmPrefill),
    },
    raw,
  };
}
