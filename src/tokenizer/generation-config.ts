/**
 * Reads the parts of a Hugging Face generation_config.json that looplm uses.
 *
 * The file says how a model wants to be sampled and which ids end a text. A filter or a temperature
 * in it means that it wants sampling, even where `do_sample` is left out, as the library itself reads
 * a call with them; `do_sample: false` means greedy. Source: transformers, `GenerationConfig`.
 */

import { z } from 'zod';
import { ConfigError } from '../errors.js';
import { describeIssue } from './parse.js';

/** How a model wants its tokens drawn; what is absent is not said. */
export type SamplingDefaults = {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
};

/** A generation_config.json, reduced to what looplm uses. */
export type GenerationConfig = {
  /** Ids that end a text, possibly none. */
  readonly eosTokenIds: readonly number[];
  /** Valid as they are: a filter comes with a temperature above 0. */
  readonly sampling: SamplingDefaults;
};

const tokenId = z.int().nonnegative();
const tokenIds = z.union([tokenId, z.array(tokenId)], 'not a token id or a list of them');

const generationConfigSchema = z.looseObject({
  eos_token_id: tokenIds.nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_k: z.int().nonnegative().nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().min(0.01).max(100).nullish(),
});

type Fields = z.infer<typeof generationConfigSchema>;

/**
 * Reads the parsed content of a generation_config.json.
 *
 * @throws ConfigError if a field that looplm uses has the wrong type or is out of range.
 */
export function parseGenerationConfig(value: unknown): GenerationConfig {
  const result = generationConfigSchema.safeParse(value);
  if (!result.success) {
    const { path, problem } = describeIssue(result.error);
    throw new ConfigError(
      path,
      `generation_config.json, ${path}: ${problem}. Correct the file, or remove it to do without.`,
    );
  }
  return {
    eosTokenIds: [result.data.eos_token_id ?? []].flat(),
    sampling: samplingDefaults(result.data),
  };
}

function samplingDefaults(fields: Fields): SamplingDefaults {
  const penalty = fields.repetition_penalty ?? undefined;
  const others = penalty === undefined ? {} : { repetitionPenalty: penalty };
  const { temperature, top_k: topK, top_p: topP, min_p: minP } = fields;
  const wantsSampling = fields.do_sample ?? [temperature, topK, topP, minP].some(isSaid);
  if (!wantsSampling || temperature === 0) return others;
  return {
    temperature: temperature ?? 1,
    // 0 stands for no filter
    ...(isSaid(topK) && topK > 0 && { topK }),
    ...(isSaid(topP) && { topP }),
    ...(isSaid(minP) && { minP }),
    ...others,
  };
}

function isSaid(value: number | null | undefined): value is number {
  return value !== null && value !== undefined;
}

/**
 * The settings of a call over the defaults of a model. A call that asks for temperature 0 is greedy:
 * the filters of the model, which mean sampling, do not come along.
 *
 * @param given - `undefined` means not given. What is no object is passed on, for its check to tell.
 */
export function withSamplingDefaults<T extends SamplingOverrides>(
  given: T,
  defaults: SamplingDefaults,
): T & SamplingDefaults {
  if (typeof given !== 'object') return given;
  const { repetitionPenalty } = defaults;
  const greedy = repetitionPenalty === undefined ? {} : { repetitionPenalty };
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...(given.temperature === 0 ? greedy : defaults), ...Object.fromEntries(said) } as T &
    SamplingDefaults;
}

type SamplingOverrides = {
  readonly [K in keyof SamplingDefaults]?: SamplingDefaults[K] | undefined;
};
