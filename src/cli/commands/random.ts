/**
 * `looplm random`: a checkpoint of random weights in the exact shapes of a model, to try sizes with.
 */
import { type Command, Option } from 'commander';
import { CheckpointError, ConfigError } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import { parseModelConfig, RELEASED_SHAPES } from '../../model/index.js';
import { fileExists, readTextFile, writeRandomCheckpoint } from '../../platform/node/index.js';
import { MIN_SYNTHETIC_VOCAB, syntheticTokenizerFiles } from '../../tokenizer/index.js';
import { openByteProgress } from '../byte-progress.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import { parseCount, parseWhole } from '../parse-flags.js';
import { printable } from '../../util/quote.js';
import { shortBytes } from '../table.js';

interface Flags {
  readonly shape: string;
  readonly dtype: 'bf16' | 'f16' | 'f32';
  readonly seed: number;
  readonly workers?: number;
  readonly json?: true;
}

const EXAMPLES = `
The weights are normal numbers: the model says nothing, but costs what a trained one costs. The
tokenizer is synthetic, with the special tokens and the chat template of the released Ouro models.

Examples:
  looplm random ./ouro-random --shape ouro-1.4b
  looplm random ./mine --shape ./config.json --dtype f32 --seed 7
`;

export function registerRandom(program: Command, io: CliIo): void {
  program
    .command('random')
    .description('make a checkpoint of random weights in the exact shapes of a model')
    .argument('<folder>', 'new folder to write to')
    .requiredOption(
      '--shape <name>',
      `${[...RELEASED_SHAPES.keys()].join(', ')}, or a config.json of your own`,
    )
    .addOption(
      new Option('--dtype <type>', 'storage type').choices(['bf16', 'f16', 'f32']).default('bf16'),
    )
    .option('--seed <n>', 'equal seeds give equal files', parseWhole, 0)
    .option('--workers <n>', 'threads (default: all cores)', parseCount)
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', EXAMPLES)
    .action((folder: string, flags: Flags) => random(folder, flags, io));
}

async function random(folder: string, flags: Flags, io: CliIo): Promise<void> {
  const { dtype, seed, workers } = flags;
  const config = RELEASED_SHAPES.get(flags.shape) ?? (await readShape(flags.shape));
  const hasTokenizer = config.vocabSize >= MIN_SYNTHETIC_VOCAB;
  const extraFiles = hasTokenizer ? syntheticTokenizerFiles(config.vocabSize) : {};
  const start = io.now();
  const bar = openByteProgress(io, 'writing');
  const sizeBytes = await interruptible(io, async (signal) => {
    try {
      return await writeRandomCheckpoint(folder, config, {
        dtype,
        seed,
        extraFiles,
        ...(workers !== undefined && { numWorkers: workers }),
        progress: ({ doneBytes, totalBytes }) => bar.show(doneBytes, totalBytes),
        signal,
      });
    } catch (error) {
      throw signal.aborted ? new InterruptedError() : error;
    } finally {
      bar.stop();
    }
  });
  const seconds = (io.now() - start) / 1000;
  const text = flags.json
    ? JSON.stringify({ folder, shape: flags.shape, dtype, seed, sizeBytes, hasTokenizer, seconds })
    : `Wrote ${printable(folder)}: ${shortBytes(sizeBytes)} of random ${dtype} weights in ${seconds.toFixed(1)} s${hasTokenizer ? '' : `, without a tokenizer (its vocabulary of ${config.vocabSize} cannot hold all bytes)`}. Try looplm generate --model ${printable(folder)} --prompt Hello`;
  io.stdout.write(`${text}\n`);
}

async function readShape(path: string): Promise<LoopLMConfig> {
  const names = [...RELEASED_SHAPES.keys()].join(', ');
  if (!(await fileExists(path))) {
    throw new ConfigError(
      'shape',
      `The shape is ${path}; it must be one of ${names}, or the path of a config.json.`,
    );
  }
  const text = await readTextFile(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(
      `${path} is not valid JSON. Give ${names}, or the path of a config.json.`,
      { cause },
    );
  }
  return parseModelConfig(json, path).config;
}
