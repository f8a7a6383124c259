import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { mersenne } from 'pure-rand/generator/mersenne';
import { expect, test } from 'vitest';
import type { ParameterSpec } from '../../model/index.js';
import { elementCount } from '../../model/index.js';
import { applyParts } from './update-program.js';

test('parts have all parameters in order, as many as fit, and are no larger than they have to be', () => {
  const rng = mersenne(3);
  for (let round = 0; round < 200; round++) {
    const specs = Array.from({ length: uniformInt(rng, 1, 40) }, (_, index): ParameterSpec => ({
      name: `p${index}`,
      hfName: `p${index}`,
      shape: [uniformInt(rng, 1, 3000), uniformInt(rng, 1, 3000)],
      kind: 'matrix',
    }));
    const parts = applyParts(specs);
    expect(parts.flat()).toEqual(specs);
    const size = (part: readonly ParameterSpec[]) =>
      part.reduce((sum, { shape }) => sum + elementCount(shape), 0);
    const most = Math.max(4e6, ...specs.map(({ shape }) => elementCount(shape)));
    parts.forEach((part, index) => {
      expect(size(part)).toBeLessThanOrEqual(most);
      const next = parts[index + 1]?.[0];
      if (next) expect(size([...part, next])).toBeGreaterThan(most);
    });
  }
  expect(applyParts([])).toEqual([]);
});
