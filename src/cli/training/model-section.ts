/**
 * The model of a run that starts fresh: the keys that are given, and defaults for the others.
 *
 * The defaults are a small model whose shapes go together: what is left out follows from what is
 * given. The keys are those of config.json, and are checked where a config.json is.
 */
import type { ParsedModelConfig } from '../../model/index.js';
import { parseModelConfig } from '../../model/index.js';

export interface ModelSectionOptions {
  /** What to call the section in messages. */
  readonly name: string;
  /** Tokens of the tokenizer, if there is one. */
  readonly vocabSize: number | undefined;
  readonly endOfTextId: number | undefined;
  /** Positions of a row of the data. */
  readonly length: number;
}

const HIDDEN_SIZE = 128;
const WIDE = 512;
const MAX_SIZE = 2 ** 18;

/**
 * @throws ConfigError for keys that are out of range or contradict each other; it names them all.
 * @throws UnsupportedError for an architecture or variant that looplm does not compute.
 */
export function parseModelSection(
  given: Readonly<Record<string, unknown>>,
  options: ModelSectionOptions,
): ParsedModelConfig {
  return parseModelConfig({ ...defaults(given, options), ...given }, options.name);
}

function defaults(
  given: Readonly<Record<string, unknown>>,
  { vocabSize, endOfTextId, length }: ModelSectionOptions,
): Readonly<Record<string, unknown>> {
  const { hidden_size: hidden = HIDDEN_SIZE, num_attention_heads: givenHeads } = given;
  const { model_type: modelType = 'ouro' } = given;
  // A size that is none is told by its own rule, and by that of no other key.
  const isSize = Number.isInteger(hidden) && Number(hidden) >= 1 && Number(hidden) <= MAX_SIZE;
  const size = isSize ? Number(hidden) : HIDDEN_SIZE;
  const headDim = size >= WIDE ? 64 : 32;
  const heads = Math.max(1, Math.floor(size / headDim));
  return {
    model_type: modelType,
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: 3 * size,
    num_hidden_layers: 3,
    num_attention_heads: heads,
    num_key_value_heads: givenHeads ?? heads,
    ...(givenHeads === undefined && { head_dim: Math.floor(size / heads) }),
    max_position_embeddings: length,
    rope_theta: 10_000,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    initializer_range: 0.02,
    ...(modelType === 'ouro' && { total_ut_steps: 4, early_exit_threshold: 1 }),
    ...(vocabSize !== undefined && { vocab_size: vocabSize }),
    ...(endOfTextId !== undefined && { eos_token_id: endOfTextId, pad_token_id: endOfTextId }),
  };
}
