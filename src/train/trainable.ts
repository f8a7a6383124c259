/**
 * Which parameters a run trains, as a value: all of them, the exit gate alone, or those of some names.
 *
 * What is not trained gets no gradient, no moments and no decay: it stays to the bit.
 */
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ParameterSpec } from '../model/index.js';
import { parameterSpecs } from '../model/index.js';
import { quote } from '../util/quote.js';

/** `all`, `gate`, or names as they stand in checkpoints, in which `*` stands for any characters. */
export type TrainableSet = 'all' | 'gate' | readonly string[];

/**
 * The parameters of a set, in the order of the model.
 *
 * @throws ConfigError if a name fits no parameter, or nothing is in the set
 */
export function trainableSpecs(config: LoopLMConfig, set: TrainableSet): readonly ParameterSpec[] {
  const specs = parameterSpecs(config);
  if (set === 'all') return specs;
  const found = set === 'gate' ? specs.filter(isGate) : named(specs, set);
  if (found.length > 0) return found;
  throw new ConfigError(
    'trained',
    `trained is ${JSON.stringify(set)}, and the model has no such parameter. Name at least one that it has.`,
  );
}

export function isGate({ kind }: ParameterSpec): boolean {
  return kind === 'gateWeight' || kind === 'gateBias';
}

function named(
  specs: readonly ParameterSpec[],
  names: readonly string[],
): readonly ParameterSpec[] {
  const patterns = names.map((name) => ({ name, fits: patternOf(name) }));
  const missing = patterns.find(({ fits }) => !specs.some(({ hfName }) => fits.test(hfName)));
  if (missing) {
    throw new ConfigError(
      'trained',
      `trained names ${quote(missing.name)}, which fits no parameter of the model, such as ${specs[0]!.hfName}. Correct it; * stands for any characters.`,
    );
  }
  return specs.filter(({ hfName }) => patterns.some(({ fits }) => fits.test(hfName)));
}

function patternOf(name: string): RegExp {
  const parts = name.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}
