/** Which weights may take the place of others. */
import { ConfigError } from './errors.js';
import type { LoopLMConfig, ModelWeights, WeightSource } from './model/index.js';

/** Weights in memory, which can be brought to buffers. */
export function plainWeights(weights: ModelWeights | WeightSource, field: string): ModelWeights {
  if ('get' in weights) return weights;
  throw new ConfigError(
    field,
    'The weights are of a converted model, which cannot be exchanged; take the checkpoint that it was made of.',
  );
}

/** @throws ConfigError for what would not come with weights that are exchanged */
export function checkUnchanged(changes: Readonly<Record<'adapter' | 'gate', unknown>>): void {
  const { adapter, gate } = changes;
  if (adapter === undefined && gate === undefined) return;
  const [field, remedy] =
    adapter === undefined
      ? ['gate', 'Leave one of them out.']
      : [
          'adapter',
          'Leave one of them out, or merge the adapter into the model first (looplm merge).',
        ];
  throw new ConfigError(
    field,
    `${field} is given and updatable is true: weights that are exchanged would come without the ${field}. ${remedy}`,
  );
}

/** @throws ConfigError with the fields in which the models differ */
export function checkSameModel(config: LoopLMConfig, other: LoopLMConfig): void {
  const fields = new Set([...Object.keys(config), ...Object.keys(other)]);
  const values = (of: LoopLMConfig, field: string) =>
    JSON.stringify(of[field as keyof LoopLMConfig]);
  const different = [...fields].filter((field) => values(config, field) !== values(other, field));
  if (different.length === 0) return;
  throw new ConfigError(
    'folder',
    `The folder holds another model: ${different.join(', ')} differ${different.length === 1 ? 's' : ''}. Give weights of the model that is loaded.`,
  );
}
