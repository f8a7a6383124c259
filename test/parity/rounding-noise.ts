/**
 * The theory of rounding that the quantised parity tests compare with: rounding to multiples of a
 * step acts like adding independent noise, uniform within half a step.
 *
 * Everything is computed with the float64 definition (test/engine/reference-model.ts): the model as
 * it is, and with such noise on whatever is rounded. The noise says how large errors should be in
 * each loop, however a model amplifies them; several draws are averaged.
 */
import type { ReferenceHooks, ReferenceToken } from '../engine/reference-model.js';
import { referenceRun } from '../engine/reference-model.js';
import type { ConvertedModel, LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import {
  convertedParameters,
  dequantizeBlocks,
  formatOf,
  openConverted,
  scalesName,
} from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import { openSafetensors } from '../../src/runtime/index.js';
import { generatorFor } from '../../src/util/random.js';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';

export type Row = readonly number[];

/** What one pass gives, by loop: rows of all tokens of all prompts. */
export interface LoopArrays {
  readonly hidden: readonly Row[]; // [R][tokens * D]
  readonly logits: readonly Row[]; // [R][tokens * V]
  readonly gateLogits: readonly Row[]; // [R][tokens]
}

/** Numbers uniform in [-1, 1). */
export type Noise = () => number;

export function noiseOf(seed: number): Noise {
  const rng = generatorFor(seed);
  return () => 2 * uniformFloat64(rng) - 1;
}

/** Relative half unit in the last place of float16. */
export const HALF_ULP_F16 = 2 ** -11;

/** The definition over prompts at full depth. */
export function definition(
  config: LoopLMConfig,
  weights: ModelWeights,
  prompts: readonly (readonly number[])[],
  hooks: ReferenceHooks = {},
): LoopArrays {
  const tokens = prompts.flatMap((ids) => {
    const inputs = ids.map((id) => ({ id, depth: config.numLoops }));
    return referenceRun(config, weights, inputs, (depth) => depth, hooks);
  });
  const loops = Array.from({ length: config.numLoops }, (_, loopIndex) => loopIndex);
  const flat = (rows: (token: ReferenceToken) => readonly Row[]) =>
    loops.map((loopIndex) => tokens.flatMap((token) => rows(token)[loopIndex]!));
  return {
    hidden: flat(({ hidden }) => hidden),
    logits: flat(({ logits }) => logits),
    gateLogits: loops.map((loopIndex) => tokens.map(({ gateLogits }) => gateLogits[loopIndex]!)),
  };
}

/** A converted model as plain numbers. */
export interface StoredModel extends Pick<ConvertedModel, 'config' | 'format'> {
  /** What the file stands for; a tied head as a weight of its own. */
  readonly weights: ModelWeights;
  /** For each weight, the step that it was rounded to a multiple of; absent for float32. */
  readonly steps: ReadonlyMap<string, Float32Array>;
}

/** Reads the values of a converted model, without the program that multiplies with them. */
export async function readStored(path: string): Promise<StoredModel> {
  const folder = nodeFolder(path);
  const { config, format } = await openConverted(folder);
  const source = await folder.open('model.safetensors');
  try {
    const reader = await openSafetensors(source);
    const weights = new Map<string, Float32Array>();
    const steps = new Map<string, Float32Array>();
    for (const spec of convertedParameters(config)) {
      const { hfName, shape } = spec;
      const chosen = formatOf(spec, format);
      if (chosen.kind === 'float') {
        const values = await reader.readFloat32(hfName);
        weights.set(hfName, values);
        if (chosen.dtype === 'f16') {
          steps.set(
            hfName,
            values.map((value) => 2 * HALF_ULP_F16 * Math.abs(value)),
          );
        }
        continue;
      }
      const [outputs, inputs] = shape as readonly [number, number];
      const packed = (await reader.readRaw(hfName)) as Uint8Array;
      const scales = await reader.readFloat32(scalesName(hfName));
      weights.set(
        hfName,
        dequantizeBlocks({ packed, scales }, { outputs, inputs, format: chosen }),
      );
      const perRow = scales.length / outputs;
      const stepAt = (_: unknown, index: number) => {
        const [output, column] = [Math.floor(index / inputs), index % inputs];
        return scales[output * perRow + Math.floor(column / chosen.blockSize)]!;
      };
      steps.set(hfName, Float32Array.from({ length: outputs * inputs }, stepAt));
    }
    return { config: { ...config, tieWordEmbeddings: false }, format, weights, steps };
  } finally {
    await source.close();
  }
}

/** The weights with noise of half a step of each. */
export function noisyWeights(
  weights: ModelWeights,
  steps: StoredModel['steps'],
  noise: Noise,
): ModelWeights {
  return new Map(
    [...weights].map(([name, values]) => {
      const step = steps.get(name);
      return [name, step ? values.map((value, i) => value + (step[i]! / 2) * noise()) : values];
    }),
  );
}

/**
 * Noise on what quantised matrices are multiplied with: the program rounds it to 8 bits, with a step of
 * the block's largest value / 127.
 */
export function noisyReads({ config, format }: StoredModel, noise: Noise): ReferenceHooks {
  const specs = new Map(convertedParameters(config).map((spec) => [spec.hfName, spec]));
  return {
    read(matrix, row) {
      const chosen = formatOf(specs.get(matrix)!, format);
      if (chosen.kind === 'float') return row;
      const { blockSize } = chosen;
      return row.flatMap((_, start) => {
        if (start % blockSize !== 0) return [];
        const block = row.slice(start, start + blockSize);
        const step = Math.max(...block.map(Math.abs)) / 127;
        return block.map((value) => value + (step / 2) * noise());
      });
    },
  };
}

/** Root of the mean square of the differences. */
export function rmsDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return Math.sqrt(sum / a.length);
}

export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}

/** Root of the mean of squares. */
export function rms(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}
