/**
 * The exit policies that the page offers, and their specs such as `cdf:0.5`. A spec that fits none
 * of them is kept as it is written: the server knows more of them.
 */
import type { Model } from '../api/token.js';

export interface PolicyValue {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** Where it starts when the policy is chosen. */
  readonly start: number;
  /** The slider moves in powers of ten. */
  readonly isLog?: true;
}

export interface PolicyChoice {
  readonly word: string;
  readonly name: string;
  /** When a token stops looping: one line. */
  readonly about: string;
  readonly needsGate?: true;
  readonly value?: PolicyValue;
}

/** The choice for a spec that is written out. */
export const WRITTEN = 'written';

export function policyChoices({ numLoops }: Model): readonly PolicyChoice[] {
  return [
    {
      word: 'cdf',
      name: 'Exit gate',
      about: 'Stops once the gate has summed up this much exit probability.',
      needsGate: true,
      value: { name: 'Threshold q', min: 0.01, max: 1, step: 0.01, start: 0.5 },
    },
    { word: 'full', name: 'Full depth', about: 'Runs every loop for every token.' },
    {
      word: 'fixed',
      name: 'Fixed depth',
      about: 'Runs the same number of loops for every token.',
      value: { name: 'Loops', min: 1, max: numLoops, step: 1, start: Math.ceil(numLoops / 2) },
    },
    {
      word: 'confidence',
      name: 'Confidence',
      about: 'Stops once the likeliest token is this probable.',
      value: { name: 'Probability', min: 0.05, max: 1, step: 0.01, start: 0.9 },
    },
    {
      word: 'delta',
      name: 'State change',
      about: 'Stops once a loop changes the state by less than this share.',
      value: { name: 'Change', min: -4, max: 0, step: 0.1, start: 0.1, isLog: true },
    },
    {
      word: 'kl',
      name: 'Readout change',
      about: 'Stops once a loop changes what it would say by less than this divergence.',
      value: { name: 'Divergence', min: -5, max: 0, step: 0.1, start: 0.01, isLog: true },
    },
    {
      word: 'sampled',
      name: 'Drawn from the gate',
      about: 'Stops by chance, with the gate’s probability after each loop.',
      needsGate: true,
    },
    {
      word: WRITTEN,
      name: 'Written out',
      about: 'Any policy of the server, such as any(cdf:0.5,confidence:0.9).',
    },
  ];
}

/** The word and the value of a spec. */
export function readPolicy(spec: string): { readonly word: string; readonly value: number } {
  const [, word = '', value = ''] = /^([a-z]+)(?::([\d.eE+-]+))?$/.exec(spec.trim()) ?? [];
  return { word, value: Number(value) };
}

/** The choice that a spec belongs to: the one that is written out if it fits no other. */
export function choiceOf(spec: string, choices: readonly PolicyChoice[]): PolicyChoice {
  const { word, value } = readPolicy(spec);
  const found = choices.find((choice) => choice.word === word);
  const isRead = found !== undefined && (found.value ? value > 0 : spec.trim() === word);
  return isRead ? found : choices.at(-1)!;
}

/** The spec of a choice; without a value, where the slider starts. */
export function policySpec({ word, value }: PolicyChoice, number = value?.start): string {
  return number === undefined ? word : `${word}:${Number(number.toPrecision(3))}`;
}

/** The threshold that the gate's summed probability is held against, if that decides. */
export function gateThreshold(spec: string): number | undefined {
  const { word, value } = readPolicy(spec);
  return word === 'cdf' ? value : undefined;
}
