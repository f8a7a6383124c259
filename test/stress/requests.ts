/**
 * Random requests of every kind, each a function of a seed and its index.
 *
 * Many prompts begin with one of a few texts, so that what they have in common is shared. Some requests
 * are given up, some are read slowly, a few fail on the way.
 */
import type {
  ExitPolicy,
  GenerationRequest,
  KvPolicy,
  PrefillMode,
  Speculation,
} from '../../src/engine/index.js';
import {
  KV_POLICIES,
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  logitKl,
  parseSamplingOptions,
  replay,
  sampledExit,
  stateDelta,
} from '../../src/engine/index.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import { Draw } from '../draw.js';

/** How somebody gives a request up. */
export type GivingUp =
  /** Its signal aborts once so many of its events have come. */
  | { readonly kind: 'after-events'; readonly count: number }
  /** Its signal aborts so long after it began. */
  | { readonly kind: 'after-ms'; readonly ms: number }
  /** Whoever reads its call leaves after so many events. */
  | { readonly kind: 'leave'; readonly count: number };

export interface StressRequest {
  readonly index: number;
  readonly request: GenerationRequest;
  /** Absent for one that is waited for. */
  readonly givingUp?: GivingUp;
  /** Milliseconds that its reader may rest after an event. */
  readonly restMs: number;
}

/** Words that keep draws of one index apart. */
const [OF_TEXTS, OF_REQUESTS] = [1, 2];

const NUM_TEXTS = 6;
/** Around the 128 positions of a page, where sharing changes its way. */
const SHARED_LENGTHS = [0, 0, 0, 5, 60, 127, 128, 129, 200, 256, 300];
const MAX_OWN_TOKENS = 40;
const MAX_NEW_TOKENS = 24;

const PREFILLS: Readonly<Record<KvPolicy, readonly PrefillMode[]>> = {
  'per-loop': ['deferred', 'full'],
  'last-exited': ['full', 'adaptive'],
  shared: ['full'],
};

type Sizes = Pick<LoopLMConfig, 'vocabSize' | 'numLoops' | 'maxPositionEmbeddings'>;

/** The request of a seed with a number. */
export function drawRequest(seed: number, index: number, sizes: Sizes): StressRequest {
  const draw = new Draw(seed, OF_REQUESTS, index);
  const numLoops = draw.pick([sizes.numLoops, sizes.numLoops, 2, sizes.numLoops + 2]);
  const kvPolicy = draw.pick(KV_POLICIES);
  const maxNewTokens = 1 + draw.below(MAX_NEW_TOKENS);
  const someIds = (most: number) =>
    Array.from({ length: 1 + draw.below(most) }, () => draw.below(sizes.vocabSize));
  const promptIds = drawPrompt(draw, seed, sizes);
  const request: GenerationRequest = {
    promptIds,
    maxNewTokens,
    exitPolicy: drawPolicy(draw, numLoops, maxNewTokens),
    sampling: drawSampling(draw),
    kvPolicy,
    prefill: draw.pick(PREFILLS[kvPolicy]),
    numLoops,
    record: draw.oneIn(4),
    speculation: kvPolicy === 'per-loop' ? drawSpeculation(draw, numLoops) : 'off',
    stopIds: draw.oneIn(3) ? someIds(4) : [],
    ...(draw.oneIn(12) && { forcedIds: someIds(MAX_NEW_TOKENS) }),
    cachePrefix: !draw.oneIn(8),
    cacheSalt: draw.pick(['', '', '', 'version 2']),
    priority: draw.pick([0, 0, 0, 0, 1, -1]),
  };
  const told = drawTold(draw, request);
  const restMs = draw.oneIn(8) ? 1 + draw.below(10) : 0;
  const givingUp = draw.oneIn(3) ? drawGivingUp(draw) : undefined;
  return { index, request: { ...request, ...told }, restMs, ...(givingUp && { givingUp }) };
}

/** Log-probabilities that come along; a prompt that is scored is not deferred. */
function drawTold(draw: Draw, { prefill }: GenerationRequest): Partial<GenerationRequest> {
  const count = draw.below(4);
  return {
    ...(draw.oneIn(4) && { topLogprobs: count }),
    ...(draw.oneIn(6) && { behaviorLogprobs: count }),
    ...(draw.oneIn(8) && { loopLogprobs: count }),
    ...(draw.oneIn(6) && prefill !== 'deferred' && { promptLogprobs: count }),
  };
}

function drawPrompt(draw: Draw, seed: number, sizes: Sizes): readonly number[] {
  const limit = sizes.maxPositionEmbeddings;
  const text = new Draw(seed, OF_TEXTS, draw.below(NUM_TEXTS));
  // Now and then one that ends where the context does.
  const shared = draw.oneIn(100) ? limit : draw.pick(SHARED_LENGTHS);
  const ids = Array.from({ length: shared }, () => text.below(sizes.vocabSize));
  for (let own = 1 + draw.below(MAX_OWN_TOKENS); own > 0; own--) {
    ids.push(draw.below(sizes.vocabSize));
  }
  return ids.slice(0, limit - draw.below(8));
}

function drawPolicy(draw: Draw, numLoops: number, maxNewTokens: number): ExitPolicy {
  const depth = 1 + draw.below(numLoops);
  const part = (1 + draw.below(99)) / 100;
  const depths = (length: number) => Array.from({ length }, () => 1 + draw.below(numLoops));
  // Depths that run out before the tokens do: it fails on the way.
  if (draw.oneIn(20)) return replay(depths(Math.ceil(maxNewTokens / 2)));
  return draw.pick([
    fullDepth(),
    fixedDepth(depth),
    cdfThreshold(part),
    cdfThreshold(part),
    sampledExit(),
    confidence(part),
    stateDelta(part),
    logitKl(part),
    replay(depths(maxNewTokens)),
    anyOf(cdfThreshold(part), confidence(0.5)),
    allOf(cdfThreshold(part), fixedDepth(depth)),
  ]);
}

function drawSampling(draw: Draw) {
  const seed = draw.below(1e6);
  const penalties = {
    repetitionPenalty: draw.pick([1, 1, 1, 1.3]),
    presencePenalty: draw.pick([0, 0, 0.5]),
    frequencyPenalty: draw.pick([0, 0, -0.3]),
    logitBias: draw.pick([undefined, undefined, { 3: 2, 7: -100 }]),
  };
  if (draw.oneIn(3)) return parseSamplingOptions({ seed, ...penalties });
  return parseSamplingOptions({
    seed,
    ...penalties,
    temperature: draw.pick([0.3, 0.8, 1, 1.7]),
    topK: draw.pick([undefined, undefined, 1, 5]),
    topP: draw.pick([1, 1, 0.9]),
    minP: draw.pick([0, 0, 0.05]),
  });
}

function drawSpeculation(draw: Draw, numLoops: number): Speculation {
  return draw.pick(['off', 'auto', 1 + draw.below(numLoops - 1)]);
}

function drawGivingUp(draw: Draw): GivingUp {
  return draw.pick<GivingUp>([
    { kind: 'after-events', count: draw.below(8) },
    { kind: 'after-ms', ms: draw.below(300) },
    { kind: 'leave', count: 1 + draw.below(8) },
  ]);
}
