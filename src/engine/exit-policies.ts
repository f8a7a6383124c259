/**
 * The exit policies and the ways to combine them.
 *
 * The one idea: every policy is described by the depth at which it would exit on its own; `anyOf`
 * is the minimum of its parts, `allOf` the maximum, and depth bounds are built from these two. None
 * of them handles the last loop: `ExitTracker` does.
 * Knows nothing of command lines (exit-policy-spec.ts) or of how readouts are computed.
 * Source: Ouro (arXiv 2510.25741) for the exit CDF rule (Q-exit).
 */
import { assert, ConfigError } from '../errors.js';
import type { LoopLMConfig } from '../model/index.js';
import { hasExitGate } from '../model/index.js';
import type { ExitDecider, ExitPolicy, LoopObservation } from './exit-policy.js';
import { isExitPolicy } from './exit-policy.js';
import { showValue } from '../util/quote.js';
import { argmax, klDivergence, logSumExp } from './logits.js';
import { drawUniform } from './random.js';

const NEEDS_NOTHING = { gate: false, logits: false, hidden: false } as const;
const NEEDS_GATE = { ...NEEDS_NOTHING, gate: true } as const;
const NEEDS_LOGITS = { ...NEEDS_NOTHING, logits: true } as const;
const NEEDS_HIDDEN = { ...NEEDS_NOTHING, hidden: true } as const;

const never: ExitDecider = () => false;

/** The policy of a model, where nothing else is asked for, in a run of `numLoops` loops. */
export function defaultExitPolicy(
  config: LoopLMConfig,
  numLoops: number = config.numLoops,
): ExitPolicy {
  if (config.exitDepth !== undefined) return fixedDepth(Math.min(config.exitDepth, numLoops));
  return hasExitGate(config) ? cdfThreshold(config.exitThreshold) : fullDepth();
}

/** Every token runs all loops. */
export function fullDepth(): ExitPolicy {
  return { name: 'full', needs: NEEDS_NOTHING, deepestDepth: 1, start: () => never };
}

/**
 * Every token exits at the same depth, from 1.
 *
 * @throws ConfigError if the depth is not a whole number from 1 up.
 */
export function fixedDepth(exitDepth: number): ExitPolicy {
  checkDepth(exitDepth, 'The depth of exit policy fixed', 'Use fixed:1 for a single loop.');
  return {
    name: `fixed:${exitDepth}`,
    needs: NEEDS_NOTHING,
    deepestDepth: exitDepth,
    start: () => (observation) => observation.depth >= exitDepth,
  };
}

/**
 * Exits at the first depth whose exit CDF reaches the threshold q (Q-exit). A threshold of 1 is full
 * depth by definition, whatever the CDF rounds to.
 *
 * @param exitThreshold - q in (0, 1]; higher goes deeper.
 * @throws ConfigError if the threshold is outside (0, 1].
 */
export function cdfThreshold(exitThreshold: number): ExitPolicy {
  checkProbability(exitThreshold, 'cdf');
  return {
    name: `cdf:${exitThreshold}`,
    needs: exitThreshold >= 1 ? NEEDS_NOTHING : NEEDS_GATE,
    deepestDepth: 1,
    start: () => (exitThreshold >= 1 ? never : ({ exitCdf }) => exitCdf >= exitThreshold),
  };
}

/**
 * Exits when the hidden state has settled: ||h_t - h_{t-1}|| < eps * ||h_{t-1}|| in the L2 norm.
 * Never exits at depth 1.
 *
 * @throws ConfigError unless eps is a finite number above 0.
 */
export function stateDelta(eps: number): ExitPolicy {
  checkEps(eps, 'delta');
  return comparingPolicy(`delta:${eps}`, NEEDS_HIDDEN, hiddenOf, (hidden, previous) => {
    return distance(hidden, previous) < eps * norm(previous);
  });
}

/**
 * Exits when the next-token distribution has settled: KL(p_t || p_{t-1}) < eps in nats, with p_t the
 * softmax of the readout of loop t (the newer distribution is the first argument). Never exits at
 * depth 1.
 *
 * @throws ConfigError unless eps is a finite number above 0.
 */
export function logitKl(eps: number): ExitPolicy {
  checkEps(eps, 'kl');
  return comparingPolicy(`kl:${eps}`, NEEDS_LOGITS, logitsOf, (logits, previous) => {
    return klDivergence(logits, previous) < eps;
  });
}

/**
 * Exits when the most likely token has at least this probability. A probability of 1 is full depth
 * by definition.
 *
 * @param topProb - in (0, 1]; higher goes deeper.
 * @throws ConfigError if it is outside (0, 1].
 */
export function confidence(topProb: number): ExitPolicy {
  checkProbability(topProb, 'confidence');
  const isConfident: ExitDecider = (observation) => {
    const logits = logitsOf(observation);
    return Math.exp(logits[argmax(logits)]! - logSumExp(logits)) >= topProb;
  };
  return {
    name: `confidence:${topProb}`,
    needs: NEEDS_LOGITS,
    deepestDepth: 1,
    start: () => (topProb >= 1 ? never : isConfident),
  };
}

/**
 * Draws the exit from the gate: a token still running exits at depth t with probability lambda_t, so
 * its depth is distributed as `exitPdf`. The draw depends on the request's seed and the token's
 * index alone.
 *
 * One uniform number u is drawn per token and the exit is the first depth with CDF > u, which is the
 * same distribution as one coin per loop.
 */
export function sampledExit(): ExitPolicy {
  return {
    name: 'sampled',
    needs: NEEDS_GATE,
    deepestDepth: 1,
    start({ seed, tokenIndex }) {
      const u = drawUniform(seed, tokenIndex, 'exit');
      return ({ exitCdf }) => exitCdf > u;
    },
  };
}

/**
 * Forces the depth of every generated token: entry n belongs to token n.
 *
 * @throws ConfigError if a depth is not a whole number from 1 up or none is given; later, when a
 *   token is started for which no depth is left.
 */
export function replay(exitDepths: readonly number[]): ExitPolicy {
  const remedy = 'Give one depth for every new token, such as replay:4,1,2.';
  const given: unknown = exitDepths;
  if (!Array.isArray(given)) {
    throw new ConfigError(
      'exitPolicy',
      `Exit policy replay is given ${showValue(given)}; it needs a list of depths. ${remedy}`,
    );
  }
  const depths = [...exitDepths];
  if (depths.length === 0) {
    throw new ConfigError(
      'exitPolicy',
      `Exit policy replay has no depths; it needs one. ${remedy}`,
    );
  }
  for (const depth of depths) checkDepth(depth, 'A depth of exit policy replay', remedy);
  return {
    name: `replay:${depths.join(',')}`,
    needs: NEEDS_NOTHING,
    deepestDepth: depths.reduce((deepest, depth) => Math.max(deepest, depth)),
    start({ tokenIndex }) {
      // It names no depths of prompt tokens.
      if (tokenIndex < 0) return never;
      const exitDepth = depths[tokenIndex];
      if (exitDepth === undefined) throw replayRanOut(depths.length);
      return (observation) => observation.depth >= exitDepth;
    },
  };
}

/** Exits as soon as one of the policies would: at the smallest depth of its parts. */
export function anyOf(...policies: readonly ExitPolicy[]): ExitPolicy {
  return {
    ...combined('any', policies),
    start(context) {
      const deciders = policies.map((policy) => policy.start(context));
      // every decider sees every loop, since some compare with the loop before
      return (observation) => deciders.map((decide) => decide(observation)).includes(true);
    },
  };
}

/**
 * Exits once each of the policies would have: at the largest depth of its parts. A part that has
 * said "exit" is not asked again.
 */
export function allOf(...policies: readonly ExitPolicy[]): ExitPolicy {
  return {
    ...combined('all', policies),
    start(context) {
      const running = new Set(policies.map((policy) => policy.start(context)));
      return (observation) => {
        for (const decide of running) if (decide(observation)) running.delete(decide);
        return running.size === 0;
      };
    },
  };
}

/** Bounds on the exit depth, both inclusive, counted from 1; an absent one does not bind. */
export interface DepthBounds {
  readonly minDepth?: number;
  readonly maxDepth?: number;
}

/**
 * Moves the depth that a policy chooses into the bounds: the exit is at
 * min(max(depth, minDepth), maxDepth). It is a composition, and its name shows it:
 * `any(all(cdf:0.5,fixed:2),fixed:3)` for the bounds 2 and 3.
 *
 * @throws ConfigError if a bound is not a whole number from 1 up, or minDepth is above maxDepth.
 */
export function withDepthBounds(policy: ExitPolicy, bounds: DepthBounds): ExitPolicy {
  const { minDepth = 1, maxDepth } = bounds;
  checkDepth(minDepth, 'minDepth', 'Leave it out for no lower bound.');
  const bounded = minDepth === 1 ? policy : allOf(policy, fixedDepth(minDepth));
  if (maxDepth === undefined) return bounded;
  checkDepth(maxDepth, 'maxDepth', 'Leave it out for no upper bound.');
  if (minDepth > maxDepth) {
    throw new ConfigError(
      'minDepth',
      `minDepth is ${minDepth} and maxDepth is ${maxDepth}; minDepth must not be above maxDepth. ` +
        'Raise maxDepth or lower minDepth.',
    );
  }
  return anyOf(bounded, fixedDepth(maxDepth));
}

/** A policy that compares a row with the same row one loop earlier. */
function comparingPolicy(
  name: string,
  needs: ExitPolicy['needs'],
  rowOf: (observation: LoopObservation) => Float32Array,
  hasSettled: (row: Float32Array, previous: Float32Array) => boolean,
): ExitPolicy {
  return {
    name,
    needs,
    deepestDepth: 1,
    start() {
      let previous: Float32Array | undefined;
      return (observation) => {
        const row = rowOf(observation);
        const exits = previous !== undefined && hasSettled(row, previous);
        previous = row.slice();
        return exits;
      };
    },
  };
}

function combined(word: 'any' | 'all', policies: readonly ExitPolicy[]): Omit<ExitPolicy, 'start'> {
  if (policies.length === 0) {
    throw new ConfigError(
      'exitPolicy',
      `Exit policy ${word}() has no parts; it needs at least one, as in ${word}(cdf:0.5,fixed:3).`,
    );
  }
  const stranger = policies.findIndex((policy) => !isExitPolicy(policy));
  if (stranger >= 0) {
    throw new ConfigError(
      'exitPolicy',
      `A part of exit policy ${word}() is ${showValue(policies[stranger])}; it must be an exit policy, such as fixedDepth(3).`,
    );
  }
  return {
    name: `${word}(${policies.map((policy) => policy.name).join(',')})`,
    needs: {
      gate: policies.some((policy) => policy.needs.gate),
      logits: policies.some((policy) => policy.needs.logits),
      hidden: policies.some((policy) => policy.needs.hidden),
    },
    deepestDepth: Math.max(...policies.map((policy) => policy.deepestDepth)),
  };
}

function logitsOf({ logits }: LoopObservation): Float32Array {
  assert(logits, 'an exit policy that needs logits was shown a loop without them');
  return logits;
}

function hiddenOf({ hidden }: LoopObservation): Float32Array {
  assert(hidden, 'an exit policy that needs the hidden state was shown a loop without it');
  return hidden;
}

function norm(row: Float32Array): number {
  return Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
}

function distance(row: Float32Array, other: Float32Array): number {
  return Math.sqrt(row.reduce((sum, value, index) => sum + (value - other[index]!) ** 2, 0));
}

function checkDepth(depth: number, what: string, remedy: string): void {
  if (Number.isSafeInteger(depth) && depth >= 1) return;
  throw new ConfigError(
    'exitPolicy',
    `${what} is ${showValue(depth)}; it must be a whole number from 1 up. ${remedy}`,
  );
}

function checkProbability(value: number, word: 'cdf' | 'confidence'): void {
  if (typeof value === 'number' && value > 0 && value <= 1) return;
  throw new ConfigError(
    'exitPolicy',
    `The threshold of exit policy ${word} is ${showValue(value)}; it must be in (0, 1]. Use 1 for full depth.`,
  );
}

function checkEps(eps: number, word: 'delta' | 'kl'): void {
  if (typeof eps === 'number' && eps > 0 && eps < Infinity) return;
  throw new ConfigError(
    'exitPolicy',
    `The limit of exit policy ${word} is ${showValue(eps)}; it must be a finite number above 0. ` +
      `Try ${word}:0.05; smaller goes deeper.`,
  );
}

function replayRanOut(numDepths: number): ConfigError {
  return new ConfigError(
    'exitPolicy',
    `Exit policy replay has ${numDepths} depths and token ${numDepths + 1} was asked for; it needs ` +
      `one depth for every new token. Add depths or set maxNewTokens to ${numDepths}.`,
  );
}
