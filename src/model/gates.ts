/**
 * Exit gates that a model has besides the one in its weights: a file of gates by name, each of which can
 * take that one's place.
 */
import { CheckpointError, ConfigError } from '../errors.js';
import type { Folder } from '../util/folder.js';
import { quote } from '../util/quote.js';
import { encodeSafetensors, openSafetensors } from '../util/safetensors.js';
import { hasExitGate } from './architectures/index.js';
import type { LoopLMConfig } from './config.js';
import type { ModelWeights } from './params.js';
import { parameterSpecs } from './params.js';

/** Tensors `NAME.weight` `[1, D]` and `NAME.bias` `[1]` for every gate. */
export const GATES_FILE = 'gates.safetensors';

const WEIGHT = '.weight';

/** A parameter of the gate, and what it is called in the file after the gate's name. */
function gateParameters(config: LoopLMConfig) {
  return parameterSpecs(config).flatMap(({ kind, hfName, shape }) => {
    if (kind === 'gateWeight') return [{ hfName, shape, suffix: WEIGHT }];
    return kind === 'gateBias' ? [{ hfName, shape, suffix: '.bias' }] : [];
  });
}

/**
 * Writes the gates of models of one config, whose other weights are not looked at.
 *
 * @param gates - weights by the name that their gate is to have
 */
export async function saveGates(
  folder: Folder,
  config: LoopLMConfig,
  gates: ReadonlyMap<string, ModelWeights>,
): Promise<void> {
  const tensors = [...gates].flatMap(([name, weights]) =>
    gateParameters(config).map(({ hfName, shape, suffix }) => {
      return { name: name + suffix, shape, dtype: 'F32' as const, data: weights.get(hfName)! };
    }),
  );
  await folder.write(GATES_FILE, [encodeSafetensors(tensors)]);
}

/**
 * The parameters of one gate, by their names among the model's weights.
 *
 * @throws ConfigError if the model has no gate, or no such one; CheckpointError if the file is damaged
 */
export async function loadGate(
  folder: Folder,
  config: LoopLMConfig,
  name: string,
): Promise<ModelWeights> {
  const fail = (problem: string): never => {
    throw new ConfigError('gate', `The exit gate ${quote(name)} is asked for, ${problem}`);
  };
  if (!hasExitGate(config)) {
    return fail(`but models of the architecture ${config.architecture} have none. Leave it out.`);
  }
  if (!(await folder.exists(GATES_FILE))) {
    return fail(
      `but ${folder.path} has no ${GATES_FILE}. Leave it out for the gate in the weights.`,
    );
  }
  const source = await folder.open(GATES_FILE);
  try {
    const { entries, readFloat32 } = await openSafetensors(source);
    const weights = new Map<string, Float32Array>();
    for (const { hfName, shape, suffix } of gateParameters(config)) {
      const entry = entries.get(name + suffix);
      if (!entry) {
        const names = [...entries.keys()].filter((key) => key.endsWith(WEIGHT));
        const known = names.map((key) => key.slice(0, -WEIGHT.length)).join(', ');
        return fail(`and ${GATES_FILE} of ${folder.path} has ${known}. Choose one of these.`);
      }
      if (entry.shape.join() !== shape.join()) {
        throw new CheckpointError(
          `${name + suffix} of ${GATES_FILE} in ${folder.path} has shape [${entry.shape.join(', ')}]; this model's gate has [${shape.join(', ')}]. Copy the file of this model.`,
        );
      }
      weights.set(hfName, await readFloat32(name + suffix));
    }
    return weights;
  } finally {
    await source.close();
  }
}
