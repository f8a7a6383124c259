/**
 * Which parameters a run has values of its own of, and which of them a stage trains: those of the model, or
 * those of an adapter beside it.
 */
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, LoraSettings, ParameterSpec } from '../model/index.js';
import { loraModules, parameterSpecs } from '../model/index.js';
import type { Objective } from './objectives/index.js';
import { objectiveOf } from './objectives/index.js';
import type { TrainableSet } from './trainable.js';
import { isGate, trainableSpecs } from './trainable.js';

/** What a stage says of what it trains. */
export interface Trains {
  readonly objective: Objective;
  /** Default: what the objective trains. */
  readonly trained?: TrainableSet | undefined;
  /** An adapter, which is trained in place of the weights of the model. */
  readonly lora?: LoraSettings | undefined;
}

/**
 * The parameters that a run has values of its own of, which are in its snapshots: those of the model; or
 * those of its adapter and the exit gate, while all else stays where it is.
 */
export function ownSpecs(
  config: LoopLMConfig,
  lora: LoraSettings | undefined,
): readonly ParameterSpec[] {
  const specs = parameterSpecs(config);
  if (!lora) return specs;
  return [...loraModules(config, lora).flatMap(({ a, b }) => [a, b]), ...specs.filter(isGate)];
}

/**
 * The parameters that a stage trains.
 *
 * @throws ConfigError as `trainableSpecs`, and for a set that an adapter excludes
 */
export function trainedParameters(
  config: LoopLMConfig,
  { objective, trained, lora }: Trains,
): readonly ParameterSpec[] {
  const { trains } = objectiveOf(objective);
  if (!lora) return trainableSpecs(config, trained ?? trains);
  if (trained !== undefined && trained !== 'gate') {
    throw new ConfigError(
      'trained',
      `trained is ${JSON.stringify(trained)} and lora is given: an adapter is trained in place of the weights of the model, all but those of the exit gate. Say "gate" to train the gate, too, leave trained out for the adapter alone, or leave out lora.`,
    );
  }
  const gate = trained === 'gate' || trains === 'gate' ? trainableSpecs(config, 'gate') : [];
  return trains === 'gate'
    ? gate
    : [...ownSpecs(config, lora).filter((spec) => !isGate(spec)), ...gate];
}
