/**
 * Laws that every entry of the op table obeys: ONNX Runtime computes what the definition says, and
 * the gradient rule is the derivative.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UnsupportedError } from 'looplm/errors';
import type { Tensor } from 'looplm/graph';
import { buildGraph, gradients, input, mul, opNames, reduceSum } from 'looplm/graph';
import { evaluate, evaluateGraph, value } from './interpreter.js';
import type { OpSample } from './op-cases.js';
import { OP_CASES } from './op-cases.js';
import type { Feeds } from './support.js';
import { expectClose, expectDerivative, runOnnx } from './support.js';

const NUM_RUNS = 20;

/** Float inputs that take no gradient, by operation. */
const WITHOUT_GRADIENT: Readonly<Record<string, readonly number[]>> = {
  stopGradient: [0],
  barrier: [1, 2],
  rope: [1, 2],
  inverseRms: [1],
};

/** Operations that refuse to be differentiated. */
const REFUSES_GRADIENT = new Set(['blockLinear', 'rowMax']);

function arrange({ leaves, build }: OpSample) {
  const inputs = leaves.map(({ dtype, dims }, index) => input(`x${index}`, dtype, dims));
  const feeds: Feeds = Object.fromEntries(
    leaves.map(({ dims, data }, index) => [`x${index}`, value(dims, data)]),
  );
  return { inputs, feeds, out: build(inputs as never) };
}

/** A scalar whose gradients show every element of `out` with another weight. */
function weightedSum(out: Tensor, feeds: Feeds) {
  const [{ dims, data }] = evaluate([out], feeds) as [ReturnType<typeof value>];
  const weights = value(
    dims,
    data.map((_, index) => Math.round(512 * Math.sin(index + 1)) / 512),
  );
  const loss = reduceSum(mul(out, input('weights', 'f32', dims)));
  return { loss, feeds: { ...feeds, weights } };
}

test('every operation has a case here', () => {
  expect(opNames().filter((name) => !OP_CASES.some(({ op }) => op === name))).toEqual([]);
});

const numbered = OP_CASES.map((opCase, index) => ({ ...opCase, seed: 20 + index }));

describe.each(numbered)('$op ($variant)', ({ op, samples, seed }) => {
  test('ONNX Runtime computes what the definition says', () =>
    fc.assert(
      fc.asyncProperty(samples, async (sample) => {
        const { out, feeds } = arrange(sample);
        expect(out.op).toBe(op);
        const expected = evaluate([out], feeds)[0]!;
        const results = await runOnnx(buildGraph({ out }), feeds);
        expectClose(results['out']!, expected, out.dtype);
      }),
      { seed, numRuns: NUM_RUNS },
    ));

  test('its gradient is the derivative, also in ONNX Runtime', () =>
    fc.assert(
      fc.asyncProperty(samples, async (sample) => {
        const { inputs, out, feeds: inputFeeds } = arrange(sample);
        if (out.dtype !== 'f32') return;
        const { loss, feeds } = weightedSum(out, inputFeeds);
        if (REFUSES_GRADIENT.has(op)) {
          expect(() => gradients(loss, inputs)).toThrow(UnsupportedError);
          return;
        }
        const outputs: Record<string, Tensor> = {};
        gradients(loss, inputs).forEach((grad, index) => {
          const isFloat = ['f32', 'f16'].includes(inputs[index]!.dtype);
          expect(grad !== undefined).toBe(isFloat && !WITHOUT_GRADIENT[op]?.includes(index));
          if (grad) outputs[`dx${index}`] = grad;
        });
        const graph = buildGraph({ loss, ...outputs });
        const exact = evaluateGraph(graph, feeds);
        for (const name of Object.keys(outputs)) {
          expectDerivative(loss, exact[name]!, feeds, name.slice(1));
        }
        const results = await runOnnx(graph, feeds);
        for (const name of Object.keys(results)) expectClose(results[name]!, exact[name]!);
      }),
      { seed, numRuns: NUM_RUNS },
    ));
});
