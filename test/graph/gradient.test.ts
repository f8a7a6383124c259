/** Laws of differentiation over whole graphs, with and without recompute regions. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Tensor } from 'looplm/graph';
import {
  add,
  buildGraph,
  cast,
  exp,
  gradients,
  input,
  log,
  mul,
  recompute,
  reduceSum,
  scalar,
  sigmoid,
  stopGradient,
  sub,
} from 'looplm/graph';
import { evaluate, evaluateGraph, value } from './interpreter.js';
import { buildProgram, program, programFeeds } from './random-programs.js';
import { expectClose, expectDerivative, expectDerivativeAlong, runTensors } from './support.js';

const inOneGo: typeof recompute = (body, inputs) => body(inputs);

/** Largest difference between two lists of values. */
function distance(as: readonly { data: Float64Array }[], bs: readonly { data: Float64Array }[]) {
  const pairs = as.flatMap(({ data }, i) => [...data].map((x, j) => x - bs[i]!.data[j]!));
  return pairs.reduce((top, x) => Math.max(top, Math.abs(x)), 0);
}

const present = (tensors: readonly (Tensor | undefined)[]): readonly Tensor[] =>
  tensors.filter((tensor) => tensor !== undefined);

describe('random programs with nested regions', () => {
  test('gradients are the derivatives', () => {
    fc.assert(
      fc.property(program, programFeeds, programFeeds, (instructions, feeds, direction) => {
        const { loss, inputs } = buildProgram(instructions);
        const grads = gradients(loss, inputs);
        const named = inputs.flatMap(({ attributes }, index) => {
          const grad = grads[index];
          return grad ? [[attributes['name'] as string, evaluate([grad], feeds)[0]!] as const] : [];
        });
        expectDerivativeAlong(loss, Object.fromEntries(named), feeds, direction);
      }),
      { seed: 31, numRuns: 60 },
    );
  });

  test('regions change neither the value nor any gradient', () => {
    fc.assert(
      fc.property(program, programFeeds, (instructions, feeds) => {
        const [withRegions, without] = [recompute, inOneGo].map((region) => {
          const { loss, inputs } = buildProgram(instructions, region);
          const grads = gradients(loss, inputs);
          return {
            flows: grads.map((grad) => grad !== undefined),
            values: evaluate([loss, ...present(grads)], feeds),
          };
        }) as [{ flows: boolean[]; values: [] }, { flows: boolean[]; values: [] }];
        expect(withRegions.flows).toEqual(without.flows);
        expect(distance(withRegions.values, without.values)).toBeLessThan(1e-12);
      }),
      { seed: 32, numRuns: 60 },
    );
  });

  test('building a graph changes no value', () => {
    fc.assert(
      fc.property(program, programFeeds, (instructions, feeds) => {
        const { loss, inputs } = buildProgram(instructions);
        const tensors = [loss, ...present(gradients(loss, inputs))];
        const graph = buildGraph(Object.fromEntries(tensors.map((x, index) => [`out${index}`, x])));
        expect(Object.values(evaluateGraph(graph, feeds))).toEqual(evaluate(tensors, feeds));
      }),
      { seed: 33, numRuns: 40 },
    );
  });

  test('ONNX Runtime computes the same loss and gradients', () =>
    fc.assert(
      fc.asyncProperty(program, programFeeds, async (instructions, feeds) => {
        const { loss, inputs } = buildProgram(instructions);
        const tensors = [loss, ...present(gradients(loss, inputs))];
        const expected = evaluate(tensors, feeds);
        const results = await runTensors(tensors, feeds);
        results.forEach((result, index) => expectClose(result, expected[index]!));
      }),
      { seed: 34, numRuns: 20 },
    ));
});

describe('gradients', () => {
  const x = input('x', 'f32', [3]);
  const y = input('y', 'f32', [3]);
  const feeds = { x: value([3], [1, -2, 0.5]), y: value([3], [2, 3, -1]) };
  const gradient = (loss: Tensor, by: Tensor) => {
    const [grad] = gradients(loss, [by]);
    return grad && [...evaluate([grad], feeds)[0]!.data];
  };

  test('of a product, by hand', () => {
    expect(gradient(reduceSum(mul(x, y)), x)).toEqual([2, 3, -1]);
    expect(gradient(reduceSum(mul(x, mul(x, y))), x)).toEqual([4, -12, -1]);
  });

  test('of the loss by itself is one', () => {
    const loss = reduceSum(x);
    expect(gradient(loss, loss)).toEqual([1]);
  });

  test('of a value between input and loss takes what comes after it', () => {
    const between = exp(x);
    expect(gradient(reduceSum(mul(between, y)), between)).toEqual([2, 3, -1]);
  });

  test('of a tensor that the loss does not use is undefined', () => {
    expect(gradients(reduceSum(exp(x)), [y, mul(x, y)])).toEqual([undefined, undefined]);
    expect(gradients(scalar(2), [x])).toEqual([undefined]);
  });

  test('come in the order asked for, once per request', () => {
    const loss = reduceSum(mul(x, y));
    const [byY, byX, again] = gradients(loss, [y, x, y]);
    expect(again).toBe(byY);
    expect(evaluate([byY!, byX!], feeds).map(({ data }) => [...data])).toEqual([
      [1, -2, 0.5],
      [2, 3, -1],
    ]);
  });

  test('do not pass stopGradient, whose value counts as a constant', () => {
    expect(gradient(reduceSum(mul(stopGradient(x), x)), x)).toEqual([1, -2, 0.5]);
    expect(gradient(reduceSum(stopGradient(mul(x, x))), x)).toBeUndefined();
    expect(gradient(reduceSum(mul(stopGradient(x), y)), x)).toBeUndefined();
  });

  test('do not pass integers', () => {
    const chosen = cast(cast(reduceSum(x), 'i32'), 'f32');
    expect(gradient(add(reduceSum(x), chosen), x)).toEqual([1, 1, 1]);
    expect(gradient(mul(chosen, chosen), x)).toBeUndefined();
  });

  test('of a gradient are second derivatives', () => {
    const [first] = gradients(reduceSum(mul(x, mul(x, x))), [x]);
    expect(gradient(reduceSum(first!), x)).toEqual([6, -12, 3]);
    const loss = reduceSum(mul(sigmoid(x), log(add(mul(y, y), 1))));
    const slope = reduceSum(mul(gradients(loss, [x])[0]!, y));
    const second = evaluate([gradients(slope, [x])[0]!], feeds)[0]!;
    expectDerivative(slope, second, feeds, 'x');
  });

  test('reach a weight that a region captures, and add up over its uses', () => {
    const weight = input('y', 'f32', [3]);
    const body = ([h]: readonly Tensor[]) => mul(h!, weight);
    const twice = (region: typeof recompute) =>
      reduceSum(sub(region(body, [region(body, [x])]), y));
    const plain = gradient(twice(inOneGo), weight);
    expect(plain).toEqual([4, -12, -1]);
    expect(gradient(twice(recompute), weight)).toEqual(plain);
  });

  test('flow through a region that returns its input, or only a captured tensor', () => {
    expect(gradient(reduceSum(recompute(([h]) => h!, [mul(x, y)])), x)).toEqual([2, 3, -1]);
    const captured = mul(x, y);
    expect(gradient(reduceSum(recompute(() => captured, [y])), x)).toEqual([2, 3, -1]);
    expect(gradient(reduceSum(recompute(() => exp(captured), [])), x)).toEqual(
      gradient(reduceSum(exp(captured)), x),
    );
  });

  test('need a scalar loss', () => {
    expect(() => gradients(x, [x])).toThrow(/loss has shape \[3\]/);
  });
});
