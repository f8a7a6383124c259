/**
 * From raw rounds to the figures of one pair of formats.
 *
 * llama.cpp counts with its fastest kind of attention and cache, chosen for each figure. A looplm body is what
 * one more loop costs; a llama.cpp body is the time without the head, with the part of the
 * last layer that is then left out put back in proportion to its bytes.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { RawRounds } from '../lib/harness.js';
import { median, medianRatio } from '../lib/harness.js';
import type { FormatPair } from './models.js';
import type { LlamaVariant } from './models.js';
import {
  LLAMA_ATTENTION,
  LLAMA_VARIANTS,
  SHAPE,
  kvBytesPerPosition,
  loopLMModel,
} from './models.js';
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

interface LlamaRounds {
  readonly rounds: readonly number[];
  readonly variant: LlamaVariant;
}

/** The variant with the smallest median. */
function fastest(candidates: readonly LlamaRounds[]): LlamaRounds {
  return candidates.reduce((best, next) =>
    median(next.rounds) < median(best.rounds) ? next : best,
  );
}

/** The figures of a pair; times are milliseconds, speeds are looplm over llama.cpp. */
export async function summarize(pair: FormatPair, measured: Measured): Promise<PairResult> {
  const { raw, contexts, prefillTokens } = measured;
  const looplmOf = (variant: string, what: string) => raw[`looplm, ${variant}, ${what}`]!;
  const llamaOf = (head: boolean, what: string) =>
    fastest(
      Object.entries(LLAMA_VARIANTS)
        .filter(([, variant]) => variant.head === head)
        .flatMap(([name, variant]) => {
          const rounds = raw[`llama.cpp, ${name}, ${what}`];
          return rounds ? [{ rounds, variant }] : [];
        }),
    );
  const checkpoint = join(await loopLMModel(pair.looplm, measured.seed), 'model.safetensors');
  const looplmBytes = (await stat(checkpoint)).size - EMBEDDING_BYTES;
  const llamaBytes = weightBytesPerToken(SHAPE, pair.llama);
  const gigabytesPerSecond = Math.max(...raw['memory']!); // a roof
  const shareOfMemory = (milliseconds: readonly number[], bytes: number) =>
    bytes / 1e6 / median(milliseconds) / gigabytesPerSecond;

  const decode = contexts.map((context) => {
    const what = `decode at ${context}`;
    const { rounds: llama, variant } = llamaOf(true, what);
    const { rounds: headless } = llamaOf(false, what);
    const { cache } = LLAMA_ATTENTION[variant.attention];
    const llamaBody = headless.map((time) => time / (1 - skippedShare(SHAPE)));
    const looplm = looplmOf('depth 1', what);
    const deep = looplmOf('depth 2', what);
    const looplmBody = deep.map((time, round) => time - looplm[round]!);
    return {
      context,
      llamaAttention: variant.attention,
      llamaMs: median(llama),
      looplmMs: median(looplm),
      speed: medianRatio(llama, looplm),
      llamaBodyMs: median(llamaBody),
      looplmBodyMs: median(looplmBody),
      bodySpeed: medianRatio(llamaBody, looplmBody),
      llamaShareOfMemory: shareOfMemory(llama, llamaBytes + context * kvBytesPerPosition(cache)),
      looplmShareOfMemory: shareOfMemory(looplm, looplmBytes + context * kvBytesPerPosition('i8')),
    };
  });
  const llamaPrefill = llamaOf(true, 'prefill').rounds;
  const looplmPrefill = looplmOf('depth 1', 'prefill');
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
