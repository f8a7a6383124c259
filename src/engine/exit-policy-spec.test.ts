import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../errors.js';
import { cdfThreshold, fullDepth, withDepthBounds } from './exit-policies.js';
import { parseExitPolicy } from './exit-policy-spec.js';

const number = fc.double({ min: 1e-9, max: 1, noNaN: true });
const depth = fc.integer({ min: 1, max: 99 });

/** Canonical specs of any shape. */
const { spec } = fc.letrec<{ spec: string; leaf: string }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom('full', 'sampled'),
    fc
      .tuple(fc.constantFrom('cdf', 'confidence', 'delta', 'kl'), number)
      .map(([word, value]) => `${word}:${value}`),
    depth.map((value) => `fixed:${value}`),
    fc.array(depth, { minLength: 1, maxLength: 5 }).map((depths) => `replay:${depths.join(',')}`),
  ),
  spec: fc.oneof(
    { maxDepth: 3 },
    tie('leaf'),
    fc
      .tuple(fc.constantFrom('any', 'all'), fc.array(tie('spec'), { minLength: 1, maxLength: 3 }))
      .map(([word, parts]) => `${word}(${parts.join(',')})`),
  ),
}));

describe('exit policy specs', () => {
  test('what is no text, and a text that nests without end, is a ConfigError', () => {
    for (const value of [undefined, null, 3, ['full'], Symbol('s')] as unknown as string[]) {
      expect(() => parseExitPolicy(value)).toThrow(ConfigError);
    }
    const nested = (levels: number) => `${'any('.repeat(levels)}full${')'.repeat(levels)}`;
    expect(parseExitPolicy(nested(31)).name).toBe(nested(31));
    expect(() => parseExitPolicy(nested(100_000))).toThrow(/nests more than 32 brackets/);
  });

  test('a canonical spec is the name of the policy it describes', () => {
    fc.assert(
      fc.property(spec, (text) => {
        expect(parseExitPolicy(text).name).toBe(text);
      }),
      { seed: 31, numRuns: 500 },
    );
  });

  test('spaces between the parts and other spellings of a number change nothing', () => {
    expect(parseExitPolicy(' any( cdf:.50 , replay:4, 1 ,2 , fixed:3 ) ').name).toBe(
      'any(cdf:0.5,replay:4,1,2,fixed:3)',
    );
    expect(parseExitPolicy('delta:1e-3').name).toBe('delta:0.001');
    expect(parseExitPolicy('fixed:3.0').name).toBe('fixed:3');
  });

  test('a policy with depth bounds can be written and read back', () => {
    const policy = withDepthBounds(cdfThreshold(0.5), { minDepth: 2, maxDepth: 3 });
    expect(policy.name).toBe('any(all(cdf:0.5,fixed:2),fixed:3)');
    expect(parseExitPolicy(policy.name).name).toBe(policy.name);
    expect(parseExitPolicy(withDepthBounds(fullDepth(), { maxDepth: 3 }).name).name).toBe(
      'any(full,fixed:3)',
    );
  });

  test.each([
    ['', '"" is not the word of an exit policy'],
    ['cdf', 'cdf needs a number after a colon'],
    ['cdf:', 'cdf needs a number after a colon'],
    ['cdf:high', 'cdf needs a number after a colon'],
    ['cdf:0.5:1', '":1" follows a complete policy'],
    ['fixed:1 2', '"2" follows a complete policy'],
    ['full:3', '":3" follows a complete policy'],
    ['CDF:0.5', '"CDF" is not the word of an exit policy'],
    ['constructor', '"constructor" is not the word of an exit policy'],
    ['any', 'any needs its parts in brackets'],
    ['any()', '"" is not the word of an exit policy'],
    ['any(full', 'the bracket of any( is not closed'],
    ['all(full,)', '"" is not the word of an exit policy'],
    ['replay:1,2,', '"," follows a complete policy'],
    ['full full', '"full" follows a complete policy'],
  ])('%j is refused: %s', (text, problem) => {
    expect(() => parseExitPolicy(text)).toThrow(ConfigError);
    expect(() => parseExitPolicy(text)).toThrow(
      `Exit policy "${text}" cannot be read: ${problem}. Write one of full, fixed:N,`,
    );
  });

  test.each([
    ['cdf:1.4', 'cdf is 1.4; it must be in (0, 1]'],
    ['any(full,cdf:-1)', 'cdf is -1; it must be in (0, 1]'],
    ['fixed:0', 'fixed is 0; it must be a whole number from 1 up'],
    ['fixed:2.5', 'fixed is 2.5; it must be a whole number from 1 up'],
    ['replay:1,0', 'replay is 0; it must be a whole number from 1 up'],
    ['delta:1e999', 'delta is Infinity; it must be a finite number above 0'],
  ])('%s is refused: %s', (text, message) => {
    expect(() => parseExitPolicy(text)).toThrow(ConfigError);
    expect(() => parseExitPolicy(text)).toThrow(message);
  });

  test('any text is either read or refused with a ConfigError', () => {
    const noise = fc.string({
      unit: fc.constantFrom(
        'any(',
        'all(',
        ')',
        ',',
        ':',
        'cdf',
        'fixed',
        'replay',
        '1',
        '.5',
        ' ',
        'x',
      ),
    });
    fc.assert(
      fc.property(fc.oneof(noise, fc.string()), (text) => {
        try {
          const { name } = parseExitPolicy(text);
          expect(parseExitPolicy(name).name).toBe(name);
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError);
        }
      }),
      { seed: 32, numRuns: 2000 },
    );
  });
});
