/**
 * What a low-rank adapter is, as data: the rank and the scale of every module that it changes.
 *
 * The keys are those of adapter_config.json of Python's PEFT, with their meaning and defaults there, so
 * one vocabulary serves settings of a run and files of adapters.
 * Source: Hu et al. 2021 (arXiv 2106.09685); Kalajdzievski 2023 (arXiv 2312.03732) for `use_rslora`;
 * LoraConfig of PEFT; docs/math.md (lora).
 */
import { z } from 'zod';
import { ConfigError } from '../../errors.js';
import { quote } from '../../util/quote.js';
import { positiveNumber, rule, section, text, wholeNumber } from '../../util/setting-fields.js';
import type { LoopLMConfig } from '../config.js';
import type { ParameterSpec } from '../params.js';
import { parameterSpecs } from '../params.js';

const MAX_RANK = 2 ** 16;
const rank = wholeNumber(1, MAX_RANK);
const alpha = positiveNumber(1e9);

const patternOf = <T extends z.ZodType>(value: T, what: string) =>
  z.record(z.string(), value, rule(`an object of names of modules and ${what}`)).default({});

/** The adapter of a run. */
export const loraSettings = section({
  /** Rank, of all modules that no pattern names. */
  r: rank.default(8),
  /** The product is scaled by `lora_alpha / r`. */
  lora_alpha: alpha.default(8),
  /** Ends of module names, such as `q_proj`; `all-linear` is all matrices of the layers. */
  target_modules: z
    .union(
      [z.literal('all-linear'), z.array(text()).min(1)],
      rule('"all-linear", or a list of names of modules such as "q_proj"'),
    )
    .default('all-linear'),
  /** Scales by `lora_alpha / sqrt(r)` instead. */
  use_rslora: z.boolean(rule('true or false')).default(false),
  rank_pattern: patternOf(rank, 'ranks'),
  alpha_pattern: patternOf(alpha, 'values of alpha'),
  lora_dropout: z.literal(0, rule('0: looplm trains adapters without dropout')).optional(),
});

export type LoraSettings = Readonly<z.output<typeof loraSettings>>;

/** One matrix W `[out, in]` of the model that an adapter changes to `W + scale * B A`. */
export interface LoraModule {
  readonly target: ParameterSpec;
  readonly scale: number;
  /** `[r, in]` */
  readonly a: ParameterSpec;
  /** `[out, r]` */
  readonly b: ParameterSpec;
}

/** Ranks and scales of the modules, as PEFT works them out. */
export type LoraScaling = Pick<
  LoraSettings,
  'r' | 'lora_alpha' | 'use_rslora' | 'rank_pattern' | 'alpha_pattern'
>;

/**
 * The modules of the settings, in the order of the model.
 *
 * @throws ConfigError if a name fits no matrix that can be adapted
 */
export function loraModules(config: LoopLMConfig, settings: LoraSettings): readonly LoraModule[] {
  const { target_modules: targets } = settings;
  const candidates = parameterSpecs(config).filter(
    ({ kind }) => kind === 'matrix' || kind === 'head',
  );
  if (targets !== 'all-linear') checkTargets(candidates, targets, config);
  return candidates
    .filter((spec) =>
      targets === 'all-linear'
        ? spec.kind === 'matrix'
        : targets.some((target) => isModule(spec, target)),
    )
    .map((target) => loraModule(target, settings));
}

/** The module of one parameter. @throws ConfigError for a pattern that is no regular expression */
export function loraModule(
  target: ParameterSpec,
  settings: LoraScaling,
  own: { readonly rank?: number } = {},
): LoraModule {
  const path = modulePath(target);
  const r = own.rank ?? byPattern('rank_pattern', settings.rank_pattern, path) ?? settings.r;
  const numerator = byPattern('alpha_pattern', settings.alpha_pattern, path) ?? settings.lora_alpha;
  const [outputs, inputs] = target.shape as readonly [number, number];
  const part = (letter: 'A' | 'B', shape: readonly number[]): ParameterSpec => ({
    name: `${target.name}.lora${letter}`,
    hfName: `${path}.lora_${letter}.weight`,
    shape,
    kind: 'matrix',
  });
  return {
    target,
    scale: numerator / (settings.use_rslora ? Math.sqrt(r) : r),
    a: part('A', [r, inputs]),
    b: part('B', [outputs, r]),
  };
}

/** `model.layers.0.self_attn.q_proj` of its weight. */
export const modulePath = ({ hfName }: Pick<ParameterSpec, 'hfName'>): string =>
  hfName.replace(/\.weight$/, '');

/** The rank that the settings give a module. */
export function rankOf(settings: LoraScaling, path: string): number {
  return byPattern('rank_pattern', settings.rank_pattern, path) ?? settings.r;
}

/** Names are ends of paths, from a dot on. */
function isModule(spec: ParameterSpec, name: string): boolean {
  const path = modulePath(spec);
  return path === name || path.endsWith(`.${name}`);
}

function checkTargets(
  candidates: readonly ParameterSpec[],
  targets: readonly string[],
  { tieWordEmbeddings }: LoopLMConfig,
): void {
  const missing = targets.find((target) => !candidates.some((spec) => isModule(spec, target)));
  if (missing === undefined) return;
  const names = [...new Set(candidates.map((spec) => modulePath(spec).split('.').at(-1)!))];
  const tied =
    missing === 'lm_head' && tieWordEmbeddings ? ' (its head is tied to the embedding)' : '';
  throw new ConfigError(
    'lora.target_modules',
    `lora.target_modules names ${quote(missing)}, which is no matrix of the model that an adapter can change${tied}. Use ${names.join(', ')}, longer ends of their paths, or "all-linear".`,
  );
}

/** The value of the first key that fits the end of a path, as PEFT looks them up. */
function byPattern(
  field: string,
  pattern: Readonly<Record<string, number>>,
  path: string,
): number | undefined {
  const found = Object.entries(pattern).find(([key]) => {
    try {
      return new RegExp(`^(.*\\.)?(${key})$`).test(path);
    } catch {
      throw new ConfigError(
        field,
        `${field} has the key ${quote(key)}, which is no regular expression. Correct it.`,
      );
    }
  });
  return found?.[1];
}
