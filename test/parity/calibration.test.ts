/** Calibration equals its definition: mean squares of what matrices read, over tokens and loops. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import type { CalibrateOptions, Calibration } from '../../src/eval/index.js';
import { calibrate } from '../../src/eval/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { referenceRun } from '../engine/reference-model.js';
import type { Fixture } from './fixtures.js';
import { FIXTURES, loadFixture } from './fixtures.js';

/** Of sums of squares in float32, whose terms have errors of 1e-6. */
const RELATIVE = 2e-5;

/** The definition, in float64. */
function expectedMeans(
  { config, weights }: Fixture,
  documents: readonly (readonly number[])[],
): Map<string, number[]> {
  const sums = new Map<string, number[]>();
  for (const ids of documents) {
    const inputs = ids.map((id) => ({ id, depth: config.numLoops }));
    const read = (matrix: string, row: readonly number[]) => {
      const sum = sums.get(matrix) ?? row.map(() => 0);
      sums.set(matrix, sum);
      row.forEach((value, index) => (sum[index]! += value * value));
      return row;
    };
    referenceRun(config, weights, inputs, (depth) => depth, { read });
  }
  const count = documents.flat().length * config.numLoops;
  return new Map([...sums].map(([name, sum]) => [name, sum.map((value) => value / count)]));
}

function expectMeans(
  { meanSquares }: Calibration,
  expected: ReadonlyMap<string, ArrayLike<number>>,
): void {
  expect([...meanSquares.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
  for (const [name, values] of expected) {
    const actual = meanSquares.get(name)!;
    expect(actual.length, name).toBe(values.length);
    actual.forEach((value, index) => {
      expect(Math.abs(value / values[index]! - 1), name).toBeLessThan(RELATIVE);
    });
  }
}

describe.each(FIXTURES)('calibration of %s', (name) => {
  let fixture: Fixture;
  let device: Device;
  beforeAll(async () => {
    fixture = await loadFixture(name);
    device = await createInlineDevice({ numThreads: 1 });
  });
  afterAll(async () => device.dispose());

  const run = (documents: readonly (readonly number[])[], rest: Partial<CalibrateOptions> = {}) => {
    const { config, weights } = fixture;
    return calibrate({ device, config, weights, length: 40, ...rest }, documents);
  };
  const documents = () => [...fixture.golden.forward.ids, fixture.golden.generate.prompt];

  it('means over all tokens and loops are those of the definition, for every matrix', async () => {
    const { config } = fixture;
    const calibration = await run(documents());
    const expected = expectedMeans(fixture, documents());
    expectMeans(calibration, expected);
    const matrices = parameterSpecs(config).filter(({ kind }) => kind === 'matrix');
    expect(expected.size).toBe(matrices.length + 1); // and the head
    expect(calibration.numTokens).toBe(33);
    expect(calibration.numLoops).toBe(config.numLoops);
  });

  it('where rows end changes nothing but where documents are cut', async () => {
    const whole = documents();
    expectMeans(await run(whole, { length: 33 }), expectedMeans(fixture, whole));
    const cut = [whole[0]!.slice(0, 10), whole[0]!.slice(10), whole[1]!.slice(0, 8)];
    const rest = [whole[1]!.slice(8), whole[2]!.slice(0, 6), whole[2]!.slice(6)];
    expectMeans(await run(whole, { length: 10 }), expectedMeans(fixture, [...cut, ...rest]));
  });

  it('no more than maxTokens are read, from the first on', async () => {
    const [first, second] = documents();
    const calibration = await run(documents(), { maxTokens: 15 });
    expectMeans(calibration, expectedMeans(fixture, [first!, second!.slice(0, 3)]));
    expect(calibration.numTokens).toBe(15);
  });

  it('progress counts tokens and reaches the total', async () => {
    const seen: number[][] = [];
    await run(documents(), { length: 10, onProgress: (...progress) => seen.push(progress) });
    expect(seen).toEqual([10, 20, 30, 33].map((done) => [done, 33]));
  });

  it('an abort stops it and leaves nothing on the device', async () => {
    const before = await device.stats();
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    const running = run(documents(), { length: 10, onProgress, signal: controller.signal });
    await expect(running).rejects.toThrow('enough');
    expect(await device.stats()).toEqual(before);
  });

  it.each([
    ['no token', [[], []], {}],
    ['an id beyond the vocabulary', [[1, 256]], {}],
    ['a length beyond the context', [[1]], { length: 1e9 }],
    ['a limit of no tokens', [[1]], { maxTokens: 0 }],
  ])('%s is refused', async (_, bad, rest) => {
    await expect(run(bad, rest)).rejects.toThrow(ConfigError);
  });
});
