/** Weights as one object of a store. */
import type { LoopLMConfig, ModelWeights } from '../../model/index.js';
import { checkWeights, memorySource, parameterSpecs } from '../../model/index.js';
import type { ResidentWeights } from '../../runtime/index.js';
import { encodeSafetensors, openSafetensors } from '../../util/safetensors.js';

/**
 * The weights as they are in their buffers.
 *
 * @throws CheckpointError if they are not finite
 */
export async function encodeWeights(
  { device, buffers }: ResidentWeights,
  model: LoopLMConfig,
): Promise<Uint8Array> {
  const specs = parameterSpecs(model);
  const reading = specs.map(async ({ hfName }) => {
    const { data } = await device.download(buffers.get(hfName)!);
    return [hfName, data as Float32Array] as const;
  });
  const weights = new Map(await Promise.all(reading));
  checkWeights(model, weights);
  return encodeSafetensors(
    specs.map(({ hfName, shape }) => {
      return { name: hfName, shape, dtype: 'F32' as const, data: weights.get(hfName)! };
    }),
  );
}

/** @throws CheckpointError if the bytes are no safetensors file */
export async function decodeWeights(name: string, bytes: Uint8Array): Promise<ModelWeights> {
  const { entries, readFloat32 } = await openSafetensors(memorySource(name, bytes));
  const weights = new Map<string, Float32Array>();
  for (const key of entries.keys()) weights.set(key, await readFloat32(key));
  return weights;
}
