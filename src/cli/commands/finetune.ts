/**
 * `looplm finetune`: all weights of a model, or an adapter beside them, on conversations.
 *
 * The common case of a run's file: `looplm train --config` says everything else.
 */
import { basename, join, parse, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { CHAT_SHAPES } from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import { hasExitGate, readModelConfig } from '../../model/index.js';
import { isHubAddress, nodeFolder } from '../../platform/node/index.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { parseCount, parseNumber, parseWhole } from '../parse-flags.js';
import { resolveShown } from '../resolve.js';
import { reportOutcome, whileReading } from '../training/report.js';
import { runOf } from '../training/run-file.js';
import { runTraining } from '../training/run.js';
import type { RunFileInput } from '../training/schema.js';

interface Flags {
  readonly data: string;
  readonly out?: string;
  readonly epochs: number;
  readonly learningRate?: number;
  readonly lora?: number;
  readonly loraAlpha?: number;
  readonly targetModules?: readonly string[];
  readonly trainGate?: true;
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
/** Adapters begin at zero and are few numbers: they take, and need, larger steps. */
const LORA_LEARNING_RATE = 2e-4;
const LONGEST_ROW = 1024;

const HELP = `
Lines of the data: ${CHAT_SHAPES}.
The model's chat template renders them; the tokens of the assistant are learnt, and nothing else. A
conversation that is longer than a row is cut there. docs/data.md of the repository says more.

With --lora the weights stay as they are, in the format of the folder (f32, f16, q8 or q4), and an adapter
of that rank is trained: the result is an adapter in the files of Python's PEFT, for --adapter of other
commands and for looplm merge. The learning rate is then ${LORA_LEARNING_RATE}, if not said otherwise.

The folder is that of a run: Ctrl-C saves a snapshot, and the same command goes on from it.

Examples:
  looplm finetune ./my-chat-model --data chat.jsonl --out runs/tuned
  looplm finetune ./my-chat-model --data chat.jsonl --epochs 3 --learning-rate 1e-4
  looplm finetune ./my-model-q4 --data chat.jsonl --lora 16 --out runs/adapter
  looplm chat --model ./my-model-q4 --adapter runs/adapter
`;

export function registerFinetune(program: Command, io: CliIo): void {
  program
    .command('finetune')
    .description(
      'train a model, or an adapter of it, on conversations; resumes where it was stopped',
    )
    .argument('<model>', 'model folder, or ORG/NAME on the hub')
    .requiredOption(
      '--data <file>',
      'JSONL or parquet file of conversations, or hf://datasets/OWNER/NAME/FILES',
    )
    .option('--out <folder>', 'folder of the run (default: runs/ and the names of model and data)')
    .option('--epochs <n>', 'how often each conversation is read', parseNumber, EPOCHS)
    .option(
      '--learning-rate <rate>',
      `its peak (default: ${LEARNING_RATE}, with --lora ${LORA_LEARNING_RATE})`,
      parseNumber,
    )
    .option(
      '--lora <rank>',
      'train an adapter of this rank, and leave the weights as they are',
      parseCount,
    )
    .option('--lora-alpha <n>', 'scales it by n / rank (default: twice the rank)', parseNumber)
    .option(
      '--target-modules <names>',
      'matrices that it changes, such as q_proj,v_proj (default: all of the layers)',
      (names: string) => names.split(',').map((name) => name.trim()),
    )
    .option('--train-gate', 'train the exit gate together with the adapter')
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
  const { data, epochs, rows, accumulate, recompute, heldOut, seed, revision } = flags;
  const adapter = adapterOf(flags);
  const { path } = await resolveShown(model, revision === undefined ? {} : { revision }, io);
  const { config } = await readModelConfig(nodeFolder(path));
  const out = flags.out ?? join('runs', `${basename(resolve(model))}-${dataName(data)}`);
  const length = flags.length ?? Math.min(LONGEST_ROW, config.maxPositionEmbeddings);
  const { run, outcome } = await interruptible(io, async (signal) => {
    const chosen = await whileReading(io, signal, (options) =>
      runOf(
        {
          from: path,
          data: { chat: data, epochs, rows, length },
          validation: { fraction: heldOut },
          objective: { kind: hasExitGate(config) ? 'stage-1' : 'last-loop' },
          learningRate: flags.learningRate ?? (adapter.lora ? LORA_LEARNING_RATE : LEARNING_RATE),
          ...adapter,
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
  const todo = adapter.lora
    ? `looplm chat --model ${printable(model)} --adapter ${printable(out)}`
    : `looplm chat --model ${printable(out)}`;
  reportOutcome(run, outcome, { out, json: flags.json ?? false, todo }, io);
}

/** Names a run's folder: that of a file without its end, or of a data set on the hub. */
function dataName(data: string): string {
  if (!isHubAddress(data)) return parse(data).name;
  const [, , , , name = ''] = data.split('/'); // hf://datasets/OWNER/NAME; another form is refused later
  return name.replace(/@.*/u, '');
}

/** The settings of an adapter; none without. */
function adapterOf({ lora, loraAlpha, targetModules, trainGate }: Flags): AdapterSettings {
  if (lora === undefined) {
    const stray = Object.entries({ loraAlpha, targetModules, trainGate }).find(
      ([, value]) => value !== undefined,
    );
    if (!stray) return {};
    throw new ConfigError(
      'lora',
      `${FLAG_NAMES[stray[0]]} is about an adapter, and --lora is not given. Add --lora 16, or leave it out.`,
    );
  }
  return {
    lora: {
      r: lora,
      lora_alpha: loraAlpha ?? 2 * lora,
      ...(targetModules && { target_modules: [...targetModules] }),
    },
    ...(trainGate && { trained: 'gate' as const }),
  };
}

type AdapterSettings = Pick<RunFileInput, 'lora' | 'trained'>;

const FLAG_NAMES: Readonly<Record<string, string>> = {
  loraAlpha: '--lora-alpha',
  targetModules: '--target-modules',
  trainGate: '--train-gate',
};
