/**
 * From the options of a call to what the engine is asked for, with the defaults of the model.
 */
import type { ExitPolicy, GenerationRequest } from './engine/index.js';
import {
  defaultExitPolicy,
  parseExitPolicy,
  parseSamplingOptions,
  withDepthBounds,
} from './engine/index.js';
import type { GenerateOptions } from './generate-options.js';
import type { LoopLMConfig } from './model/index.js';
import type { SamplingDefaults } from './tokenizer/index.js';
import { withSamplingDefaults } from './tokenizer/index.js';

const DEFAULT_MAX_NEW_TOKENS = 128;

/** What a model says where a call does not. */
export interface ModelDefaults {
  readonly config: LoopLMConfig;
  readonly samplingDefaults: SamplingDefaults;
  /** Ids that end a text, unless the call ignores them. */
  readonly endIds: readonly number[];
}

/** What a call asks for, but for its prompt. */
export interface ResolvedOptions {
  readonly request: Omit<GenerationRequest, 'promptIds'>;
  readonly stopStrings: readonly string[];
}

/** @throws ConfigError for a policy or a setting of sampling that cannot be */
export function resolveOptions(options: GenerateOptions, model: ModelDefaults): ResolvedOptions {
  const { maxNewTokens = DEFAULT_MAX_NEW_TOKENS, ignoreEos, stopIds = [] } = options;
  const { sampling = {}, kvPolicy = 'per-loop' } = options;
  return {
    request: {
      ...passedOn(options),
      maxNewTokens,
      exitPolicy: exitPolicyOf(options, model.config),
      sampling: parseSamplingOptions(withSamplingDefaults(sampling, model.samplingDefaults)),
      stopIds: [...(ignoreEos ? [] : model.endIds), ...stopIds],
      kvPolicy,
    },
    stopStrings: options.stopStrings ?? [],
  };
}

/** Options that the engine has under the same names and knows the defaults of. */
const PASSED_ON = [
  'prefill',
  'speculation',
  'numLoops',
  'cachePrefix',
  'cacheSalt',
  'priority',
  'record',
  'topLogprobs',
  'loopLogprobs',
  'promptLogprobs',
  'promptTemperature',
  'behaviorLogprobs',
] as const satisfies readonly (keyof GenerateOptions & keyof GenerationRequest)[];

function passedOn(options: GenerateOptions): Partial<GenerationRequest> {
  const given = PASSED_ON.filter((name) => options[name] !== undefined);
  return Object.fromEntries(given.map((name) => [name, options[name]]));
}

function exitPolicyOf(
  { exitPolicy, minDepth, maxDepth, numLoops }: GenerateOptions,
  config: LoopLMConfig,
): ExitPolicy {
  const policy = exitPolicy ?? defaultExitPolicy(config, numLoops);
  return withDepthBounds(typeof policy === 'string' ? parseExitPolicy(policy) : policy, {
    ...(minDepth !== undefined && { minDepth }),
    ...(maxDepth !== undefined && { maxDepth }),
  });
}
