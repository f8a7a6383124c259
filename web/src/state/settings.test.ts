import { describe, expect, it } from 'vitest';
import { readAddress, writeAddress } from './address.js';
import { choiceOf, gateThreshold, policyChoices, policySpec, readPolicy } from './policies.js';
import type { Settings } from './settings.js';
import { changed, settingsOf } from './settings.js';
import { MODEL } from './test-model.js';

const VIEW = readAddress('');
const changedView = (changes: Partial<Settings>) => ({ ...VIEW, changes: { a: changes, b: {} } });

describe('settings', () => {
  it('are the model’s own on side a, and full depth on side b', () => {
    expect(settingsOf(MODEL, 'a', VIEW).exitPolicy).toBe('cdf:0.2');
    expect(settingsOf(MODEL, 'b', VIEW).exitPolicy).toBe('full');
    expect(settingsOf({ ...MODEL, hasExitGate: false }, 'a', VIEW).exitPolicy).toBe('full');
  });

  it('stay within what the model allows', () => {
    const wild = { minDepth: 9, maxDepth: 8, maxTokens: 1e6, kvPolicy: 'other' };
    expect(settingsOf(MODEL, 'a', changedView(wild))).toMatchObject({
      minDepth: 4,
      maxDepth: 4,
      maxTokens: 1024,
      kvPolicy: 'per-loop',
    });
  });

  it('show the depths of a prompt, but save its loops in a comparison and in a chat', () => {
    const prefill = (view: Partial<typeof VIEW>, changes: Partial<Settings> = {}) =>
      settingsOf(MODEL, 'a', { ...changedView(changes), ...view }).prefill;
    expect(prefill({})).toBe('scored');
    expect(prefill({ compares: true })).toBe('deferred');
    expect(prefill({ mode: 'chat' })).toBe('deferred');
    const shared = changedView({ kvPolicy: 'shared', prefill: 'deferred' });
    expect(prefill({ ...shared, mode: 'chat' })).toBe('full');
    expect(prefill({}, { prefill: 'deferred' })).toBe('deferred');
  });

  it('let the other end of the depths give way', () => {
    const move = (start: Partial<Settings>, patch: Partial<Settings>) =>
      settingsOf(
        MODEL,
        'a',
        changedView(changed(MODEL, settingsOf(MODEL, 'a', changedView(start)), start, patch)),
      );
    expect(move({ maxDepth: 2 }, { minDepth: 3 })).toMatchObject({ minDepth: 3, maxDepth: 3 });
    expect(move({ minDepth: 3 }, { maxDepth: 1 })).toMatchObject({ minDepth: 1, maxDepth: 1 });
    expect(move({ minDepth: 2 }, { maxDepth: 3 })).toMatchObject({ minDepth: 2, maxDepth: 3 });
  });
});

describe('addresses', () => {
  it('bring back every view that they were made of', () => {
    const view = {
      mode: 'chat',
      theme: 'dark',
      compares: true,
      prompt: 'a & b = "c"\n%23 é',
      changes: {
        a: {
          exitPolicy: 'any(cdf:0.5,fixed:3)',
          minDepth: 2,
          temperature: 0.7,
          prefill: 'deferred',
        },
        b: { kvPolicy: 'shared', maxTokens: 7, seed: 0 },
      },
    } as const;
    expect(readAddress(`#${writeAddress(view)}`)).toEqual(view);
  });

  it('are empty for a new page', () => {
    expect(writeAddress(readAddress(''))).toBe('');
  });

  it('leave out what makes no sense', () => {
    const read = readAddress('#mode=x&theme=pink&temperature=9&min=2.5&tokens=&policy=<b>&seed=-1');
    expect(read).toEqual(readAddress(''));
  });
});

describe('policies', () => {
  const choices = policyChoices(MODEL);

  it('are told by their spec, and written back alike', () => {
    for (const spec of [
      'cdf:0.2',
      'full',
      'fixed:3',
      'confidence:0.9',
      'delta:0.01',
      'kl:1e-4',
      'sampled',
    ]) {
      const choice = choiceOf(spec, choices);
      expect(choice.word).toBe(spec.split(':')[0]);
      const { value } = readPolicy(spec);
      expect(readPolicy(policySpec(choice, choice.value && value))).toEqual(readPolicy(spec));
    }
  });

  it('are kept as written where they are not offered', () => {
    for (const spec of ['any(cdf:0.5,fixed:3)', 'replay:1,2', 'cdf', 'full:2', 'nonsense']) {
      expect(choiceOf(spec, choices)).toBe(choices.at(-1));
    }
  });

  it('have a threshold only where the gate decides', () => {
    expect(gateThreshold('cdf:0.35')).toBe(0.35);
    expect(gateThreshold('confidence:0.35')).toBeUndefined();
  });
});
