/**
 * `looplm finetune`: all weights of a model, on conversations.
 *
 * The common case of a run's file: `looplm train --config` says everything else.
 */
import { basename, join, parse, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { CHAT_SHAPES } from '../../data/index.js';
import { hasExitGate, readModelConfig } from '../../model/index.js';
import { nodeFolder } from '../../platform/node/index.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { parseCount, parseNumber, parseWhole } from '../parse-flags.js';
import { resolveShown } from '../resolve.js';
import { reportOutcome, whileReading } from '../training/report.js';
import { runOf } from '../training/run-file.js';
import { runTraining } from '../training/run.js';

interface Flags {
  readonly data: string;
  readonly out?: string;
  readonly epochs: number;
  readonly learningRate: number;
  readonly rows: number;
  readonly length?: number;
  readonly accumulate: number;
  readonly recompute: 'none' | 'loop';
  readonly heldOut: number;
  readonly seed: number;
  readonly revision?: string;
  readonly threads?: number;
  readonly json?: true;
}

/** The rate and the two epochs of the Ouro release. */
const LEARNING_RATE = 2e-5;
const EPOCHS = 2;
const LONGEST_ROW = 1024;

const HELP = `
Lines of the data: ${CHAT_SHAPES}.
The model's chat template renders them; the tokens of the assistant are learnt, and nothing else. A
conversation that is longer than a row is cut there. docs/data.md of the repository says more.

The folder is that of a run: Ctrl-C saves a snapshot, and the same command goes on from it.

Examples:
  looplm finetune ./my-chat-model --data chat.jsonl --out runs/tuned
  looplm finetune ./my-chat-model --data chat.jsonl --epochs 3 --learning-rate 1e-4
`;

export function registerFinetune(program: Command, io: CliIo): void {
  program
    .command('finetune')
    .description('train all weights of a model on conversations; resumes where it was stopped')
    .argument('<model>', 'model folder, or ORG/NAME on the hub')
    .requiredOption('--data <file>', 'JSONL file, a conversation a line')
    .option('--out <folder>', 'folder of the run (default: runs/ and the names of model and data)')
    .option('--epochs <n>', 'how often each conversation is read', parseNumber, EPOCHS)
    .option('--learning-rate <rate>', 'its peak', parseNumber, LEARNING_RATE)
    .option('--rows <n>', 'rows of a micro-batch', parseCount, 4)
    .option(
      '--length <n>',
      `tokens of a row (default: what the model holds, at most ${LONGEST_ROW})`,
      parseCount,
    )
    .option('--accumulate <n>', 'micro-batches of an update', parseCount, 1)
    .addOption(
      new Option('--recompute <what>', 'compute again in place of keeping: less memory, more time')
        .choices(['none', 'loop'])
        .default('none'),
    )
    .option('--held-out <part>', 'part of the conversations to measure with', parseNumber, 0.05)
    .option('--seed <n>', 'of the order of the data', parseWhole, 0)
    .option('--revision <name>', 'branch, tag or commit on the hub (default: main)')
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseCount)
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action((model: string, flags: Flags) => finetune(model, flags, io));
}

async function finetune(model: string, flags: Flags, io: CliIo): Promise<void> {
  const { data, epochs, rows, learningRate, accumulate, recompute, heldOut, seed, revision } =
    flags;
  const { path } = await resolveShown(model, revision === undefined ? {} : { revision }, io);
  const { config } = await readModelConfig(nodeFolder(path));
  const out = flags.out ?? join('runs', `${basename(resolve(model))}-${parse(data).name}`);
  const length = flags.length ?? Math.min(LONGEST_ROW, config.maxPositionEmbeddings);
  const { run, outcome } = await interruptible(io, async (signal) => {
    const chosen = await whileReading(io, signal, (options) =>
      runOf(
        {
          from: path,
          data: { chat: data, epochs, rows, length },
          validation: { fraction: heldOut },
          objective: { kind: hasExitGate(config) ? 'stage-1' : 'last-loop' },
          learningRate,
          accumulate,
          recompute,
          seed,
        },
        options,
      ),
    );
    const deviceOptions = { numThreads: flags.threads };
    return { run: chosen, outcome: await runTraining(chosen, out, deviceOptions, io, signal) };
  });
  const todo = `looplm chat --model ${printable(out)}`;
  reportOutcome(run, outcome, { out, json: flags.json ?? false, todo }, io);
}
