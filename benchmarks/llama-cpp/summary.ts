/**
 * From raw rounds to the figures of one pair of formats.
 *
 * llama.cpp counts with its fastest kind of attention and cache, chosen for each figure. With two threads
 * its times have two heights, so times are given as distributions of all tokens, and where one figure
 * is compared it is the lower quartile. A looplm body is what one more loop costs; a llama.cpp body is the time without the head, with the part of the
 * last layer that is then left out put back in proportion to its bytes.
 */
import type { RawRounds } from '../lib/harness.js';
import { distribution, median, medianRatio } from '../lib/statistics.js';
import type { FormatPair } from './models.js';
import type { CACHE_BYTES } from './models.js';
import {
  BODY_FLOPS,
  LLAMA_ATTENTION,
  LLAMA_VARIANTS,
  SHAPE,
  kvBytesPerPosition,
} from './models.js';
import { skippedShare, weightBytesPerToken } from './random-gguf.js';
import type { PairResult } from './report.js';

interface Measured {
  readonly raw: RawRounds;
  readonly times: RawRounds;
  readonly setup: string;
  readonly contexts: readonly number[];
  readonly prefillTokens: number;
  /** Of looplm's weights, as a token reads them. */
  readonly looplmBytes: number;
}

/** Of a variant: its name in the rounds, and its times. */
interface Subject {
  readonly name: string;
  readonly times: readonly number[];
}

const lowerQuartile = (times: readonly number[]) => distribution(times).p25;

/** The subject with the smallest lower quartile. */
function fastest<S extends Subject>(subjects: readonly S[]): S {
  return subjects.reduce((best, next) =>
    lowerQuartile(next.times) < lowerQuartile(best.times) ? next : best,
  );
}

/** The figures of a pair; times are milliseconds, speeds are looplm over llama.cpp. */
export function summarize(pair: FormatPair, measured: Measured): PairResult {
  const { raw, times, contexts, prefillTokens, looplmBytes } = measured;
  const looplmOf = (variant: string, what: string) => {
    const name = `looplm, ${variant}, ${what}`;
    return { name, times: times[name]! };
  };
  const llamaOf = (head: boolean, what: string) =>
    fastest(
      Object.entries(LLAMA_VARIANTS)
        .filter(([, variant]) => variant.head === head)
        .flatMap(([key, variant]) => {
          const name = `llama.cpp, ${key}, ${what}`;
          return times[name] ? [{ name, times: times[name], variant }] : [];
        }),
    );
  const llamaBytes = weightBytesPerToken(SHAPE, pair.llama);
  const speedOf = (llama: readonly number[], looplm: readonly number[]) => {
    const [ours, theirs] = [distribution(looplm), distribution(llama)];
    return { min: theirs.min / ours.min, p25: theirs.p25 / ours.p25, p50: theirs.p50 / ours.p50 };
  };

  const decode = contexts.map((context) => {
    const what = `decode at ${context}`;
    const llama = llamaOf(true, what);
    const headless = llamaOf(false, what);
    const [looplm, deep] = [looplmOf('depth 1', what), looplmOf('depth 2', what)];
    const llamaBody = headless.times.map((time) => time / (1 - skippedShare(SHAPE)));
    const looplmBody = deep.times.map((time, token) => time - looplm.times[token]!);
    const { cache } = LLAMA_ATTENTION[llama.variant.attention];
    /** Of the median of a round, over the rate of the same round. */
    const shareOfMemory = ({ name }: Subject, weights: number, kv: keyof typeof CACHE_BYTES) => {
      const bytes = weights + context * kvBytesPerPosition(kv);
      return medianRatio(
        raw[name]!.map((milliseconds) => bytes / 1e6 / milliseconds),
        raw[`memory at ${context}`]!,
      );
    };
    return {
      context,
      llamaAttention: llama.variant.attention,
      llamaMs: distribution(llama.times),
      looplmMs: distribution(looplm.times),
      speed: speedOf(llama.times, looplm.times),
      llamaBodyMs: lowerQuartile(llamaBody),
      looplmBodyMs: lowerQuartile(looplmBody),
      bodySpeed: lowerQuartile(llamaBody) / lowerQuartile(looplmBody),
      llamaShareOfMemory: shareOfMemory(llama, llamaBytes, cache),
      looplmShareOfMemory: shareOfMemory(looplm, looplmBytes, 'i8'),
    };
  });
  const llamaPrefill = llamaOf(true, 'prefill');
  const looplmPrefill = looplmOf('depth 1', 'prefill');
  const shareOfProducts = ({ name }: Subject) =>
    medianRatio(
      raw[name]!.map((milliseconds) => (prefillTokens * BODY_FLOPS) / 1e6 / milliseconds),
      raw['products']!,
    );
  return {
    looplm: pair.looplm,
    llama: pair.llama.toUpperCase(),
    setup: measured.setup,
    busyFraction: median(raw['busy']!),
    decode,
    prefill: {
      llamaMs: distribution(llamaPrefill.times),
      looplmMs: distribution(looplmPrefill.times),
      speed: speedOf(llamaPrefill.times, looplmPrefill.times),
      llamaShareOfProducts: shareOfProducts(llamaPrefill),
      looplmShareOfProducts: shareOfProducts(looplmPrefill),
    },
    raw,
    times,
  };
}
