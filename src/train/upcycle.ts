/**
 * More layers from a trained model: each layer is copied, so that a deeper stack starts from what a
 * shallower one knows.
 *
 * `interleaved` puts the copies of a layer next to each other, `stacked` the whole stack behind itself,
 * which is what a loop does. docs/math.md (upcycling).
 */
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { parameterSpecs } from '../model/index.js';

export type CopyOrder = 'interleaved' | 'stacked';

/**
 * Weights of a model with more layers.
 *
 * @param config - of the deeper model, whose layers are a multiple of those of `weights`
 */
export function upcycle(
  config: LoopLMConfig,
  weights: ModelWeights,
  order: CopyOrder,
): ModelWeights {
  const layers = [...weights.keys()].map((name) => Number(LAYER.exec(name)?.[1] ?? -1));
  const numLayers = 1 + Math.max(...layers);
  const copies = config.numHiddenLayers / numLayers;
  const sourceOf = (layer: number) =>
    order === 'interleaved' ? Math.floor(layer / copies) : layer % numLayers;
  return new Map(
    parameterSpecs(config).map(({ hfName }) => {
      const source = hfName.replace(
        LAYER,
        (_, layer: string) => `model.layers.${sourceOf(Number(layer))}.`,
      );
      return [hfName, weights.get(source)!.slice()];
    }),
  );
}

const LAYER = /^model\.layers\.(\d+)\./;
