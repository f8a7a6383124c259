import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointError, ConfigError } from '../errors.js';
import { argmax, logSumExp } from './logits.js';
import type { SamplingOptions, TokenDistribution } from './sampler.js';
import { parseSamplingOptions, sampleToken, tokenDistribution } from './sampler.js';

const options = (changes: Partial<SamplingOptions>): SamplingOptions => ({
  ...parseSamplingOptions({ temperature: 1 }),
  ...changes,
});

const UNSEEN = { prompt: [], generated: [] };

/** Softmax of the row at a temperature, written out plainly. */
function softmax(logits: Float32Array, temperature = 1): number[] {
  const scaled = Array.from(logits, (logit) => logit / temperature);
  const largest = Math.max(...scaled);
  const weights = scaled.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

const asMap = ({ ids, probs }: TokenDistribution) =>
  new Map(Array.from(ids, (id, n) => [id, probs[n]!]));
const sum = (values: Iterable<number>) =>
  Array.from(values).reduce((total, value) => total + value, 0);
/** Ids that survive the filters. */
const keptIds = (row: Float32Array, settings: SamplingOptions) =>
  Array.from(tokenDistribution(row, settings, UNSEEN).ids);

/** Rows with ties, on a grid so that unequal logits never give equal weights by rounding. */
const logitsRow = fc
  .array(fc.integer({ min: -80, max: 80 }), { minLength: 1, maxLength: 40 })
  .map((values) => new Float32Array(values.map((value) => value / 10)));
/** Rows without ties, and a new id for each token. */
const shuffled = fc
  .uniqueArray(fc.integer({ min: -80, max: 80 }), { minLength: 1, maxLength: 40 })
  .chain((values) =>
    fc
      .shuffledSubarray([...values.keys()], { minLength: values.length })
      .map((order) => ({ row: new Float32Array(values.map((value) => value / 10)), order })),
  );
const anyOptions: fc.Arbitrary<SamplingOptions> = fc
  .record({
    temperature: fc.double({ min: 0.05, max: 4, noNaN: true }),
    topK: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
    topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
    repetitionPenalty: fc.double({ min: 0.5, max: 2, noNaN: true }),
    seed: fc.nat(),
  })
  .map(options);

describe('greedy decoding', () => {
  test('takes the most likely token, the lowest id on ties', () => {
    const row = new Float32Array([-1, 3, 0, 3, 3]);
    expect(sampleToken(row, parseSamplingOptions({}), UNSEEN, 0)).toBe(1);
  });

  test('is what a temperature close to zero gives, also where logits overflow', () => {
    fc.assert(
      fc.property(
        shuffled,
        fc.constantFrom(1e-3, 1e-300),
        fc.nat(),
        ({ row }, temperature, seed) => {
          const greedy = sampleToken(row, options({ temperature: 0 }), UNSEEN, 0);
          expect(sampleToken(row, options({ temperature, seed }), UNSEEN, 0)).toBe(greedy);
        },
      ),
      { seed: 41 },
    );
  });
});

describe('the distribution drawn from', () => {
  test('without filters is the softmax at the temperature', () => {
    fc.assert(
      fc.property(logitsRow, fc.double({ min: 0.1, max: 5, noNaN: true }), (row, temperature) => {
        const { ids, probs } = tokenDistribution(row, options({ temperature }), UNSEEN);
        expect([...ids]).toEqual([...row.keys()]);
        const expected = softmax(row, temperature);
        probs.forEach((prob, id) => expect(prob).toBeCloseTo(expected[id]!, 12));
      }),
      { seed: 42 },
    );
  });

  test('topK keeps the k most likely tokens, lower ids first on ties', () => {
    const row = new Float32Array([1, 2, 0, 2, 2]);
    expect(keptIds(row, options({ topK: 2 }))).toEqual([1, 3]);
    expect(keptIds(row, options({ topK: 4 }))).toEqual([0, 1, 3, 4]);
    expect(keptIds(row, options({ topK: 9 }))).toEqual([0, 1, 2, 3, 4]);
  });

  test('topP keeps the smallest set of tokens that reaches p', () => {
    fc.assert(
      fc.property(logitsRow, fc.double({ min: 0.01, max: 0.999, noNaN: true }), (row, topP) => {
        const probs = softmax(row);
        const kept = keptIds(row, options({ topP })).map((id) => probs[id]!);
        const rest = sum(probs) - sum(kept);
        expect(sum(kept)).toBeGreaterThanOrEqual(topP - 1e-12);
        expect(sum(kept) - Math.min(...kept)).toBeLessThan(topP + 1e-12);
        if (rest > 1e-12) expect(rest).toBeLessThanOrEqual(1 - topP + 1e-12);
      }),
      { seed: 43 },
    );
  });

  test('minP keeps exactly the tokens at least that fraction as likely as the best', () => {
    // relative to the best: 1, 1/2, 1/4, 1/8
    const row = new Float32Array([0, -1, -2, -3].map((power) => power * Math.LN2));
    expect(keptIds(row, options({ minP: 0.24 }))).toEqual([0, 1, 2]);
    expect(keptIds(row, options({ minP: 0.26 }))).toEqual([0, 1]);
    expect(keptIds(row, options({ minP: 1 }))).toEqual([0]);
  });

  test('each filter sees what the one before it left: topP counts within topK', () => {
    // probabilities 0.4, 0.3, 0.2, 0.1; within the top three 0.444, 0.333, 0.222
    const row = new Float32Array([0.4, 0.3, 0.2, 0.1].map(Math.log));
    expect(keptIds(row, options({ topP: 0.75 }))).toEqual([0, 1, 2]);
    expect(keptIds(row, options({ topK: 3, topP: 0.75 }))).toEqual([0, 1]);
  });

  test('the repetition penalty divides positive and multiplies negative logits, once per token', () => {
    const row = new Float32Array([2, -1, 1, 0]);
    const seen = { prompt: [0, 1, 0, 1], generated: [1, 3] };
    const penalised = tokenDistribution(row, options({ repetitionPenalty: 2 }), seen);
    const expected = softmax(new Float32Array([1, -2, 1, 0]));
    penalised.probs.forEach((prob, id) => expect(prob).toBeCloseTo(expected[id]!, 12));
    const greedy = options({ temperature: 0, repetitionPenalty: 3 });
    expect(sampleToken(row, greedy, seen, 0)).toBe(2);
    expect([...row]).toEqual([2, -1, 1, 0]);
  });

  test('presence counts generated tokens once, frequency each time, and neither the prompt', () => {
    const row = new Float32Array([2, -1, 1, 0]);
    const seen = { prompt: [3, 3], generated: [0, 2, 0, 0] };
    const settings = options({ presencePenalty: 0.5, frequencyPenalty: 0.25 });
    const { probs } = tokenDistribution(row, settings, seen);
    const expected = softmax(new Float32Array([2 - 0.5 - 0.75, -1, 1 - 0.5 - 0.25, 0]));
    probs.forEach((prob, id) => expect(prob).toBeCloseTo(expected[id]!, 12));
    const negative = options({ temperature: 0, frequencyPenalty: -2 });
    expect(sampleToken(row, negative, { prompt: [], generated: [1, 1] }, 0)).toBe(1);
    expect([...row]).toEqual([2, -1, 1, 0]);
  });

  test('a bias is added to the logits of its tokens, before any penalty', () => {
    const row = new Float32Array([2, -1, 1, 0]);
    const seen = { prompt: [1], generated: [] };
    const settings = options({ logitBias: { 1: 3, 3: -100 }, repetitionPenalty: 2 });
    const { probs } = tokenDistribution(row, settings, seen);
    const expected = softmax(new Float32Array([2, 1, 1, -100]));
    probs.forEach((prob, id) => expect(prob).toBeCloseTo(expected[id]!, 12));
    expect(sampleToken(row, options({ temperature: 0, logitBias: { 3: 100 } }), seen, 0)).toBe(3);
  });

  test('always sums to one, keeps the best token, and its survivors keep their proportions', () => {
    fc.assert(
      fc.property(logitsRow, anyOptions, (row, settings) => {
        const unfiltered = options({ temperature: settings.temperature });
        const plain = asMap(tokenDistribution(row, unfiltered, UNSEEN));
        const { ids, probs } = tokenDistribution(
          row,
          { ...settings, repetitionPenalty: 1 },
          UNSEEN,
        );
        expect(sum(probs)).toBeCloseTo(1, 12);
        expect([...ids]).toContain(argmax(row));
        const mass = sum(Array.from(ids, (id) => plain.get(id)!));
        probs.forEach((prob, n) => expect(prob).toBeCloseTo(plain.get(ids[n]!)! / mass, 10));
      }),
      { seed: 44 },
    );
  });

  test('renaming the tokens renames the distribution and changes nothing else', () => {
    fc.assert(
      fc.property(shuffled, anyOptions, ({ row, order }, settings) => {
        const renamedRow = new Float32Array(row.length);
        order.forEach((newId, id) => {
          renamedRow[newId] = row[id]!;
        });
        const original = tokenDistribution(row, settings, UNSEEN);
        const renamed = asMap(tokenDistribution(renamedRow, settings, UNSEEN));
        expect(renamed.size).toBe(original.ids.length);
        original.ids.forEach((id, n) => {
          expect(renamed.get(order[id]!)).toBeCloseTo(original.probs[n]!, 12);
        });
      }),
      { seed: 45 },
    );
  });
});

describe('draws', () => {
  test('follow the distribution', () => {
    const row = new Float32Array([0.5, 0.3, 0.15, 0.05].map(Math.log));
    const counts = [0, 0, 0, 0];
    const numDraws = 20_000;
    for (let n = 0; n < numDraws; n += 1) {
      counts[sampleToken(row, options({ seed: 3 }), UNSEEN, n)]! += 1;
    }
    const statistic = softmax(row).reduce(
      (total, prob, id) => total + (counts[id]! - numDraws * prob) ** 2 / (numDraws * prob),
      0,
    );
    // 0.1 % point of chi-square with 3 degrees of freedom
    expect(statistic).toBeLessThan(16.27);
  });

  test('depend on the seed and the index of the token alone', () => {
    const row = new Float32Array(64);
    const draw = (seed: number, tokenIndex: number) =>
      sampleToken(row, options({ seed }), UNSEEN, tokenIndex);
    const order = Array.from({ length: 40 }, (_, tokenIndex) => tokenIndex);
    const forwards = order.map((tokenIndex) => draw(8, tokenIndex));
    expect(order.toReversed().map((tokenIndex) => draw(8, tokenIndex))).toEqual(
      forwards.toReversed(),
    );
    expect(order.map((tokenIndex) => draw(9, tokenIndex))).not.toEqual(forwards);
  });

  test('come from the surviving tokens, never from an impossible one', () => {
    fc.assert(
      fc.property(logitsRow, anyOptions, fc.nat(), (row, settings, tokenIndex) => {
        const masked = new Float32Array([-Infinity, ...row, -Infinity]);
        const id = sampleToken(masked, settings, UNSEEN, tokenIndex);
        expect(asMap(tokenDistribution(masked, settings, UNSEEN)).get(id)).toBeGreaterThan(0);
      }),
      { seed: 46 },
    );
  });
});

describe('the normaliser of a row', () => {
  test('turns logits into the logarithm of the softmax', () => {
    fc.assert(
      fc.property(logitsRow, (row) => {
        softmax(row).forEach((prob, id) => {
          expect(row[id]! - logSumExp(row)).toBeCloseTo(Math.log(prob), 10);
        });
      }),
      { seed: 47 },
    );
  });

  test('is finite where plain exponentials overflow or vanish', () => {
    expect(logSumExp(new Float32Array([5000, 4000, -Infinity]))).toBe(5000);
    expect(logSumExp(new Float32Array([-5000, -5000]))).toBeCloseTo(-5000 + Math.LN2, 10);
  });
});

describe('what is refused', () => {
  test.each([
    [[0, Number.NaN], 'The logit of token 1 is NaN; logits must be below +Infinity'],
    [[Infinity, 0], 'The logit of token 0 is Infinity; logits must be below +Infinity'],
    [[-Infinity, -Infinity], 'Every logit is -Infinity; logits must be below +Infinity'],
  ])('the logits %j', (values, message) => {
    const row = new Float32Array(values);
    for (const temperature of [0, 1]) {
      expect(() => sampleToken(row, options({ temperature }), UNSEEN, 0)).toThrow(CheckpointError);
      expect(() => sampleToken(row, options({ temperature }), UNSEEN, 0)).toThrow(message);
    }
    expect(() => logSumExp(row)).toThrow(message);
  });

  test.each([
    [{ temperature: -1 }, 'temperature is -1; it must be a number from 0 up. Use 0 for greedy.'],
    [{ temperature: Number.NaN }, 'temperature is NaN; it must be a number from 0 up.'],
    [{ temperature: '1' }, 'temperature is "1"; it must be a number from 0 up.'],
    [{ temperature: 1, topK: 0 }, 'topK is 0; it must be a whole number from 1 up. Leave it out'],
    [{ temperature: 1, topK: 1.5 }, 'topK is 1.5; it must be a whole number from 1 up.'],
    [{ temperature: 1, topP: 0 }, 'topP is 0; it must be in (0, 1]. Use 1 to keep all tokens.'],
    [{ temperature: 1, topP: 1.1 }, 'topP is 1.1; it must be in (0, 1].'],
    [{ temperature: 1, minP: -0.1 }, 'minP is -0.1; it must be in [0, 1].'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty is 0; it must be a number from 0.01 to 100.'],
    [{ seed: -1 }, 'seed is -1; it must be a whole number from 0 to 2^53 - 1.'],
    [{ seed: 0.5 }, 'seed is 0.5; it must be a whole number'],
    [
      { topp: 0.5 },
      'Field "topp" of the sampling settings is not known; remove it. Known are temperature, topK',
    ],
    [7, 'Got 7 as the sampling settings; it must be an object.'],
    [{ topK: 5 }, 'topK is 5 and temperature is 0; a filter needs a temperature above 0'],
    [{ topP: 0.9 }, 'topP is 0.9 and temperature is 0;'],
    [{ temperature: 0, minP: 0.1 }, 'minP is 0.1 and temperature is 0;'],
  ])('the settings %j', (settings, message) => {
    expect(() => parseSamplingOptions(settings)).toThrow(ConfigError);
    expect(() => parseSamplingOptions(settings)).toThrow(message);
  });

  test('nothing: settings left out or undefined take their defaults', () => {
    const penalties = { repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0 };
    const defaults = { temperature: 0, topP: 1, minP: 0, ...penalties, seed: 0 };
    expect(parseSamplingOptions({})).toEqual(defaults);
    expect(parseSamplingOptions({ topK: undefined, seed: undefined })).toEqual(defaults);
  });
});
