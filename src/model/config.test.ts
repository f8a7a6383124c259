/** The number of loops is checked wherever the library takes one. */
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../errors.js';
import { batchLoopStates } from './batch-forward.js';
import { resolveNumLoops } from './config.js';
import { planMemory } from './memory-plan.js';
import { RELEASED_SHAPES } from './released-shapes.js';
import { weightSource } from './weights.js';

const config = RELEASED_SHAPES.get('nanbeige-4.2-3b')!;
const needs = {
  kvDtype: 'i8',
  kvPolicy: 'per-loop',
  context: 16,
  numSequences: 1,
} as const;

describe.each([0, 65, 1.5, -1, Number.NaN])('%d loops', (numLoops) => {
  it.each<[string, () => unknown]>([
    ['a run', () => resolveNumLoops(config, numLoops)],
    ['a memory plan', () => planMemory(config, { ...needs, numLoops })],
    [
      'a pass over a batch',
      () => batchLoopStates(config, weightSource(new Map()), { rows: 1, length: 2, numLoops }),
    ],
  ])('are refused by %s, with the rule and what to do', (_, use) => {
    expect(use).toThrow(ConfigError);
    expect(use).toThrow(
      new RegExp(`numLoops is ${numLoops}; .*1 to 64\\. Leave it out for the 2 that`),
    );
  });
});

it('without a number the loops are those of the model', () => {
  expect(resolveNumLoops(config, undefined)).toBe(2);
  expect(planMemory(config, needs).numLoops).toBe(2);
  const bytes = planMemory(config, { ...needs, numLoops: 4 }).kvBytesPerPosition;
  expect(bytes['per-loop']).toBe(2 * planMemory(config, needs).kvBytesPerPosition['per-loop']);
});
