/**
 * From raw rounds to the figures of one pair of models.
 *
 * llama.cpp's token takes the lower quartile of all its tokens: what it takes when nothing disturbs it.
 * Tokens of looplm differ in depth, so the mean of a round's tokens of a mean depth counts, and of those
 * the lower quartile; that way what disturbed looplm stays in its figures.
 */
import type { RawRounds } from '../lib/harness.js';
import { distribution, median } from '../lib/statistics.js';
import { decodeName, KV_POLICIES, MEAN_DEPTHS } from './protocol.js';
import type { PairResult } from './report.js';

type Figures = Omit<PairResult, 'looplm' | 'llama' | 'setup' | 'raw'>;

/** The figures of a pair; times are milliseconds, speeds are looplm over llama.cpp. */
export function summarize(raw: RawRounds): Figures {
  const of = (name: string) => raw[name] ?? []; // without values a figure is an error
  const llamaMs = distribution(of('llama.cpp, decode'));
  const decode = KV_POLICIES.flatMap((kvPolicy) =>
    MEAN_DEPTHS.map((meanDepth) => {
      const ms = distribution(of(`looplm, ${decodeName(kvPolicy, meanDepth)}`));
      return { kvPolicy, meanDepth, ms, speed: llamaMs.p25 / ms.p25 };
    }),
  );
  const prefill = {
    llamaMs: distribution(of('llama.cpp, prefill')),
    looplmMs: distribution(of('looplm, prefill')),
  };
  const bytesOf = (side: string) => ({
    resident: median(of(`${side}, resident`)),
    inUse: median(of(`${side}, in use`)),
  });
  const memory = { llama: bytesOf('llama.cpp'), looplm: bytesOf('looplm') };
  return {
    busyFraction: median(of('busy')),
    llamaMs,
    decode,
    prefill: { ...prefill, speed: prefill.llamaMs.p25 / prefill.looplmMs.p25 },
    memory: { ...memory, share: memory.looplm.inUse / memory.llama.inUse },
  };
}
