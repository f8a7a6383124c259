/** Exit policies of every kind, as random tests draw them. */
import fc from 'fast-check';
import type { ExitPolicy } from '../../src/engine/index.js';
import {
  cdfThreshold,
  confidence,
  fixedDepth,
  fullDepth,
  logitKl,
  sampledExit,
  stateDelta,
} from '../../src/engine/index.js';

/** One of each kind, or one of a few more. */
export function exitPolicyArbitrary(
  numLoops: number,
  ...more: readonly ExitPolicy[]
): fc.Arbitrary<ExitPolicy> {
  return fc.oneof(
    fc.constant(fullDepth()),
    fc.integer({ min: 1, max: numLoops }).map(fixedDepth),
    fc.double({ min: 0.1, max: 0.9, noNaN: true }).map(cdfThreshold),
    fc.double({ min: 0.2, max: 0.8, noNaN: true }).map(confidence),
    fc.double({ min: 0.05, max: 1, noNaN: true }).map(stateDelta),
    fc.double({ min: 0.01, max: 1, noNaN: true }).map(logitKl),
    fc.constant(sampledExit()),
    ...more.map((policy) => fc.constant(policy)),
  );
}
