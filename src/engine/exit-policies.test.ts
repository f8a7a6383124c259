import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { exitDistribution } from './exit-distribution.js';
import {
  allOf,
  anyOf,
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  logitKl,
  replay,
  sampledExit,
  stateDelta,
  withDepthBounds,
} from './exit-policies.js';
import type { ExitPolicy } from './exit-policy.js';
import { ExitTracker } from './exit-policy.js';

/** What the loops of one token would give if all were run. */
interface TokenLoops {
  readonly gateLogits: readonly number[];
  readonly logits: readonly Float32Array[];
  readonly hidden: readonly Float32Array[];
}

/** The depth at which a policy stops a token; rows sit in one buffer that every loop overwrites. */
function exitDepth(policy: ExitPolicy, loops: TokenLoops, tokenIndex = 0, seed = 5): number {
  const numLoops = loops.gateLogits.length;
  const tracker = new ExitTracker(policy, { numLoops, seed, tokenIndex });
  const logits = new Float32Array(loops.logits[0]!.length);
  const hidden = new Float32Array(loops.hidden[0]!.length);
  for (const [loopIndex, gateLogit] of loops.gateLogits.entries()) {
    logits.set(loops.logits[loopIndex]!);
    hidden.set(loops.hidden[loopIndex]!);
    if (tracker.observe({ gateLogit, logits, hidden })) return tracker.depth;
  }
  throw new Error('the token never exited');
}

const VOCABULARY = 5;
const WIDTH = 4;
const value = fc.double({ min: -6, max: 6, noNaN: true });
const row = (length: number) =>
  fc
    .array(value, { minLength: length, maxLength: length })
    .map((values) => new Float32Array(values));

const tokenLoops: fc.Arbitrary<TokenLoops> = fc.integer({ min: 1, max: 7 }).chain((numLoops) => {
  const perLoop = { minLength: numLoops, maxLength: numLoops };
  return fc.record({
    gateLogits: fc.array(value, perLoop),
    logits: fc.array(row(VOCABULARY), perLoop),
    hidden: fc.array(row(WIDTH), perLoop),
  });
});

const threshold = fc.double({ min: 1e-6, max: 1, noNaN: true });
const limit = fc.double({ min: 1e-4, max: 20, noNaN: true });

/** Policies that name no depth, so that they fit any number of loops. */
const simplePolicy: fc.Arbitrary<ExitPolicy> = fc.oneof(
  fc.constant(fullDepth()),
  fc.constant(sampledExit()),
  fc.constant(fixedDepth(1)),
  threshold.map(cdfThreshold),
  threshold.map(confidence),
  limit.map(stateDelta),
  limit.map(logitKl),
);

describe('every exit policy', () => {
  test('exits at a depth from one to R', () => {
    fc.assert(
      fc.property(simplePolicy, tokenLoops, (policy, loops) => {
        const depth = exitDepth(policy, loops);
        expect(depth).toBeGreaterThanOrEqual(1);
        expect(depth).toBeLessThanOrEqual(loops.gateLogits.length);
      }),
      { seed: 21 },
    );
  });

  test('decides from the loops run so far: what later loops give changes nothing', () => {
    fc.assert(
      fc.property(simplePolicy, tokenLoops, tokenLoops, (policy, loops, later) => {
        const depth = exitDepth(policy, loops);
        const spliced = {
          gateLogits: [...loops.gateLogits.slice(0, depth), ...later.gateLogits],
          logits: [...loops.logits.slice(0, depth), ...later.logits],
          hidden: [...loops.hidden.slice(0, depth), ...later.hidden],
        };
        // at the last loop the exit was not the policy's own decision
        if (depth < loops.gateLogits.length) expect(exitDepth(policy, spliced)).toBe(depth);
      }),
      { seed: 22 },
    );
  });

  test('within depth bounds exits at its own depth, moved into the bounds', () => {
    fc.assert(
      fc.property(simplePolicy, tokenLoops, fc.nat(), fc.nat(), (policy, loops, a, b) => {
        const numLoops = loops.gateLogits.length;
        const minDepth = 1 + (a % numLoops);
        const maxDepth = minDepth + (b % (numLoops - minDepth + 1));
        const bounded = exitDepth(withDepthBounds(policy, { minDepth, maxDepth }), loops);
        const free = exitDepth(policy, loops);
        expect(bounded).toBe(Math.min(Math.max(free, minDepth), maxDepth));
      }),
      { seed: 23 },
    );
  });
});

describe('thresholds', () => {
  test.each([
    { name: 'cdf', policy: cdfThreshold, values: threshold, deeper: 'higher' },
    { name: 'confidence', policy: confidence, values: threshold, deeper: 'higher' },
    { name: 'delta', policy: stateDelta, values: limit, deeper: 'lower' },
    { name: 'kl', policy: logitKl, values: limit, deeper: 'lower' },
  ])(
    '$name: a $deeper threshold never makes a token exit earlier',
    ({ policy, values, deeper }) => {
      fc.assert(
        fc.property(values, values, tokenLoops, (a, b, loops) => {
          const [shallow, deep] = a < b === (deeper === 'higher') ? [a, b] : [b, a];
          expect(exitDepth(policy(deep), loops)).toBeGreaterThanOrEqual(
            exitDepth(policy(shallow), loops),
          );
        }),
        { seed: 24 },
      );
    },
  );

  test('a threshold of one is full depth even where the CDF rounds to one', () => {
    const certain = new Float32Array([500, 0, 0, 0, 0]);
    const loops = {
      gateLogits: [60, 60, 60, 60],
      logits: [certain, certain, certain, certain],
      hidden: Array.from({ length: 4 }, () => new Float32Array(WIDTH)),
    };
    expect(exitDepth(cdfThreshold(1), loops)).toBe(4);
    expect(exitDepth(confidence(1), loops)).toBe(4);
    expect(exitDepth(cdfThreshold(0.999), loops)).toBe(1);
    expect(exitDepth(confidence(0.999), loops)).toBe(1);
  });

  test('cdf exits at the first depth whose exit CDF reaches the threshold', () => {
    fc.assert(
      fc.property(threshold, tokenLoops, (q, loops) => {
        const { exitCdf } = exitDistribution(loops.gateLogits);
        const expected = q >= 1 ? exitCdf.length : exitCdf.findIndex((p) => p >= q) + 1;
        expect(exitDepth(cdfThreshold(q), loops)).toBe(expected);
      }),
      { seed: 25 },
    );
  });
});

describe('policies that look at states and readouts', () => {
  const still = {
    gateLogits: [0, 0, 0],
    hidden: [
      [3, 4],
      [3, 4.5],
      [3, 4.5],
    ],
    logits: [[0], [0], [0]],
  };
  const asLoops = (loops: { gateLogits: number[]; hidden: number[][]; logits: number[][] }) => ({
    gateLogits: loops.gateLogits,
    hidden: loops.hidden.map((values) => new Float32Array(values)),
    logits: loops.logits.map((values) => new Float32Array(values)),
  });

  test('delta compares the change with the length of the older state: 0.5 against 5 is 0.1', () => {
    expect(exitDepth(stateDelta(0.11), asLoops(still))).toBe(2);
    expect(exitDepth(stateDelta(0.09), asLoops(still))).toBe(3);
  });

  test('kl takes the newer distribution first', () => {
    // p1 = (1/2, 1/2), p2 = (9/10, 1/10): KL(p2 || p1) = 0.368, KL(p1 || p2) = 0.511
    const loops = asLoops({
      gateLogits: [0, 0, 0],
      hidden: [[0], [0], [0]],
      logits: [
        [0, 0],
        [Math.log(9), 0],
        [5, -5],
      ],
    });
    const forward = 0.9 * Math.log(1.8) + 0.1 * Math.log(0.2);
    expect(exitDepth(logitKl(forward + 1e-6), loops)).toBe(2);
    expect(exitDepth(logitKl(forward - 1e-6), loops)).toBe(3);
  });

  test('kl goes on where a token became possible that was impossible before', () => {
    const logits = [
      [0, -Infinity],
      [0, -20],
      [0, -20],
      [0, -Infinity],
    ];
    const loops = asLoops({ gateLogits: [0, 0, 0, 0], hidden: [[0], [0], [0], [0]], logits });
    expect(exitDepth(logitKl(0.1), loops)).toBe(3);
  });

  test('delta and kl never exit at depth one', () => {
    fc.assert(
      fc.property(tokenLoops, (loops) => {
        fc.pre(loops.gateLogits.length > 1);
        expect(exitDepth(stateDelta(1e300), loops)).toBeGreaterThan(1);
        expect(exitDepth(logitKl(1e300), loops)).toBeGreaterThan(1);
      }),
      { seed: 26 },
    );
  });

  test('confidence exits where the best token has the probability asked for', () => {
    // softmax of (log 3, 0) gives 3/4, of (log 9, 0) gives 9/10
    const logits = [
      [Math.log(3), 0],
      [Math.log(9), 0],
      [0, 0],
    ];
    const loops = asLoops({ gateLogits: [0, 0, 0], hidden: [[0], [0], [0]], logits });
    expect(exitDepth(confidence(0.74), loops)).toBe(1);
    expect(exitDepth(confidence(0.76), loops)).toBe(2);
    expect(exitDepth(confidence(0.91), loops)).toBe(3);
  });
});

describe('combinations', () => {
  const parts = fc.array(simplePolicy, { minLength: 1, maxLength: 4 });

  test('any exits at the smallest depth of its parts, all at the largest', () => {
    fc.assert(
      fc.property(parts, tokenLoops, (policies, loops) => {
        const depths = policies.map((policy) => exitDepth(policy, loops));
        expect(exitDepth(anyOf(...policies), loops)).toBe(Math.min(...depths));
        expect(exitDepth(allOf(...policies), loops)).toBe(Math.max(...depths));
      }),
      { seed: 27 },
    );
  });

  test('a combination needs what any of its parts needs', () => {
    const nothing = { gate: false, logits: false, hidden: false };
    expect(anyOf(cdfThreshold(0.5), fullDepth()).needs).toEqual({ ...nothing, gate: true });
    expect(allOf(cdfThreshold(0.5), confidence(0.5)).needs).toEqual({
      ...nothing,
      gate: true,
      logits: true,
    });
    expect(anyOf(stateDelta(0.5), logitKl(0.5)).needs).toEqual({
      ...nothing,
      logits: true,
      hidden: true,
    });
  });

  test('a threshold of 1 is full depth by definition and reads no gate', () => {
    expect(cdfThreshold(1).needs.gate).toBe(false);
    expect(sampledExit().needs.gate).toBe(true);
    expect(replay([1]).needs.gate).toBe(false);
  });

  test('bounds that do not bind leave the policy as it is', () => {
    const policy = cdfThreshold(0.5);
    expect(withDepthBounds(policy, {})).toBe(policy);
    expect(withDepthBounds(policy, { minDepth: 1 })).toBe(policy);
  });
});

describe('replay', () => {
  test('gives every token exactly the depth recorded for it', () => {
    fc.assert(
      fc.property(tokenLoops, fc.array(fc.nat(), { minLength: 1 }), (loops, numbers) => {
        const depths = numbers.map((number) => 1 + (number % loops.gateLogits.length));
        const policy = replay(depths);
        depths.forEach((depth, tokenIndex) => {
          expect(exitDepth(policy, loops, tokenIndex)).toBe(depth);
        });
      }),
      { seed: 28 },
    );
  });

  test('a token without a recorded depth is an error', () => {
    const context = { numLoops: 4, seed: 0, tokenIndex: 2 };
    expect(() => new ExitTracker(replay([4, 1]), context)).toThrow(
      'Exit policy replay has 2 depths and token 3 was asked for; it needs one depth for every new ' +
        'token. Add depths or set maxNewTokens to 2.',
    );
  });
});

describe('sampled exits', () => {
  const numTokens = 20_000;
  const flat = (gateLogits: readonly number[]): TokenLoops => ({
    gateLogits,
    logits: gateLogits.map(() => new Float32Array(1)),
    hidden: gateLogits.map(() => new Float32Array(1)),
  });

  /** Pearson's statistic of the depths of many tokens against the exit distribution. */
  function chiSquare(gateLogits: readonly number[], depthOf: (draw: number) => number): number {
    const { exitPdf } = exitDistribution(gateLogits);
    const counts = exitPdf.map(() => 0);
    for (let draw = 0; draw < numTokens; draw += 1) counts[depthOf(draw) - 1]! += 1;
    return exitPdf.reduce(
      (sum, p, t) => sum + (counts[t]! - numTokens * p) ** 2 / (numTokens * p),
      0,
    );
  }

  // 0.1 % points of chi-square with R - 1 degrees of freedom
  test.each([
    { gateLogits: [-1, 0.5, 0.2, 3], critical: 16.27 },
    { gateLogits: [0, 0], critical: 10.83 },
    { gateLogits: [-3, -2, -1, 0, 1, 2], critical: 20.52 },
  ])('depths of many tokens follow the exit pdf of $gateLogits', ({ gateLogits, critical }) => {
    const loops = flat(gateLogits);
    const overTokens = (tokenIndex: number) => exitDepth(sampledExit(), loops, tokenIndex, 7);
    const overSeeds = (seed: number) => exitDepth(sampledExit(), loops, 3, seed);
    expect(chiSquare(gateLogits, overTokens)).toBeLessThan(critical);
    expect(chiSquare(gateLogits, overSeeds)).toBeLessThan(critical);
  });

  test('the same seed and token give the same depth, whatever was drawn in between', () => {
    const loops = flat([-1, -0.5, 0, 0.5]);
    const draw = (tokenIndex: number) => exitDepth(sampledExit(), loops, tokenIndex, 99);
    const order = Array.from({ length: 50 }, (_, tokenIndex) => tokenIndex);
    const forwards = order.map(draw);
    const backwards = order.toReversed().map(draw).toReversed();
    expect(backwards).toEqual(forwards);
    expect(new Set(forwards).size).toBe(4);
  });
});

describe('what is refused', () => {
  test.each([
    [
      () => cdfThreshold(0),
      'The threshold of exit policy cdf is 0; it must be in (0, 1]. Use 1 for full depth.',
    ],
    [() => cdfThreshold(1.4), 'cdf is 1.4; it must be in (0, 1].'],
    [() => cdfThreshold(Number.NaN), 'cdf is NaN; it must be in (0, 1].'],
    [() => confidence(-0.1), 'confidence is -0.1; it must be in (0, 1].'],
    [() => stateDelta(0), 'delta is 0; it must be a finite number above 0.'],
    [() => logitKl(Infinity), 'kl is Infinity; it must be a finite number above 0.'],
    [() => fixedDepth(0), 'fixed is 0; it must be a whole number from 1 up.'],
    [() => fixedDepth(1.5), 'fixed is 1.5; it must be a whole number from 1 up.'],
    [() => replay([]), 'Exit policy replay has no depths'],
    [() => replay([2, 0]), 'replay is 0; it must be a whole number from 1 up.'],
    [() => anyOf(), 'Exit policy any() has no parts'],
    [
      () => withDepthBounds(fullDepth(), { minDepth: 3, maxDepth: 2 }),
      'minDepth is 3 and maxDepth is 2',
    ],
    [
      () => withDepthBounds(fullDepth(), { minDepth: 0 }),
      'minDepth is 0; it must be a whole number',
    ],
    [
      () => withDepthBounds(fullDepth(), { maxDepth: 2.5 }),
      'maxDepth is 2.5; it must be a whole number',
    ],
  ])('%s', (make, message) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(message);
  });

  test.each([
    fixedDepth(5),
    replay([1, 5]),
    withDepthBounds(cdfThreshold(0.5), { maxDepth: 5 }),
    anyOf(fixedDepth(2), allOf(fixedDepth(5))),
  ])('$name in a run of four loops', (policy) => {
    expect(() => new ExitTracker(policy, { numLoops: 4, seed: 0, tokenIndex: 0 })).toThrow(
      'names depth 5, but the run has 4 loops; depths must be 1 to 4.',
    );
  });

  test('a gate logit that is not a number', () => {
    const tracker = new ExitTracker(fullDepth(), { numLoops: 4, seed: 0, tokenIndex: 0 });
    expect(() => tracker.observe({ gateLogit: Number.NaN })).toThrow(
      "The exit gate's logit is NaN after loop 1",
    );
  });
});
