/**
 * The flags that say how to generate, shared by the commands that do, and the options they mean.
 */
import { type Command, Option } from 'commander';
import {
  EXIT_POLICY_FORMS,
  KV_POLICIES,
  PREFILL_MODES,
  SPECULATION_FORMS,
  parseSpeculation,
} from '../engine/index.js';
import type { KvPolicy, PrefillMode, Speculation } from '../engine/index.js';
import type { GenerateOptions } from '../loop-lm.js';
import { collect, collectWhole, parseCount, parseNumber, parseWhole } from './parse-flags.js';

export interface GenerationFlags {
  readonly maxNewTokens: number;
  readonly exitPolicy?: string;
  readonly kvPolicy: KvPolicy;
  readonly prefill?: PrefillMode;
  readonly speculation?: Speculation;
  readonly minDepth?: number;
  readonly maxDepth?: number;
  readonly numLoops?: number;
  readonly ignoreEos?: true;
  readonly stop?: readonly string[];
  readonly stopId?: readonly number[];
  readonly seed?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** Adds all flags of generation. Sampling defaults to what the model's generation_config.json says. */
export function addGenerationFlags(command: Command): Command {
  return command
    .option('--max-new-tokens <n>', 'tokens to generate at most', parseCount, 128)
    .option(
      '--exit-policy <spec>',
      `when a token stops looping: ${EXIT_POLICY_FORMS} (default: the model's, cdf:Q or full)`,
    )
    .addOption(
      new Option('--kv-policy <name>', 'how tokens of other depths are read from the cache')
        .choices(KV_POLICIES)
        .default('per-loop'),
    )
    .addOption(
      new Option(
        '--prefill <mode>',
        'loops of the prompt: all, or those that a token needs (default: deferred under per-loop)',
      ).choices(PREFILL_MODES),
    )
    .option(
      '--speculation <how>',
      `guess tokens at a shallow depth and go on meanwhile: ${SPECULATION_FORMS} (default: off)`,
      parseSpeculation,
    )
    .option('--min-depth <n>', 'loops that every token takes at least', parseCount)
    .option('--max-depth <n>', 'loops that a token takes at most', parseCount)
    .option('--num-loops <n>', "loops of full depth (default: the model's)", parseCount)
    .option('--ignore-eos', 'go on after tokens that end a text (inspect lists them)')
    .option('--stop <text>', 'text that ends the answer; may be repeated', collect)
    .option('--stop-id <id>', 'token id that ends the answer, too; may be repeated', collectWhole)
    .option('--seed <n>', 'seed of all draws (default: 0)', parseWhole)
    .option(
      '--temperature <t>',
      "divides the logits; 0 is greedy (default: the model's, or 0)",
      parseNumber,
    )
    .option('--top-k <n>', 'draw from the n most likely tokens', parseCount)
    .option('--top-p <p>', 'draw from the fewest tokens that reach this probability', parseNumber)
    .option('--min-p <p>', 'draw from tokens this fraction as likely as the best', parseNumber)
    .option('--repetition-penalty <x>', 'makes seen tokens less likely, above 1', parseNumber);
}

/** The library's options for the flags. */
export function generateOptions(flags: GenerationFlags): GenerateOptions {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = flags;
  return {
    maxNewTokens: flags.maxNewTokens,
    exitPolicy: flags.exitPolicy,
    kvPolicy: flags.kvPolicy,
    prefill: flags.prefill,
    speculation: flags.speculation,
    minDepth: flags.minDepth,
    maxDepth: flags.maxDepth,
    numLoops: flags.numLoops,
    ignoreEos: flags.ignoreEos,
    stopStrings: flags.stop,
    stopIds: flags.stopId,
    sampling: { temperature, topK, topP, minP, repetitionPenalty, seed },
  };
}
