/**
 * `looplm merge`: a model and an adapter of it as one checkpoint.
 */
import { type Command, Option } from 'commander';
import type { WeightDtype } from '../../model/index.js';
import { mergeToFolder } from '../../platform/node/index.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { resolveShown } from '../resolve.js';

interface Flags {
  readonly out: string;
  readonly dtype?: WeightDtype;
  readonly revision?: string;
  readonly json?: true;
}

const HELP = `
The adapter is a folder in the files of Python's PEFT, as looplm finetune --lora writes it. The result is a
checkpoint in the Hugging Face layout, which every command loads. A model in q4, q8 or f16 blocks is widened
first: the adapter was trained beside what it stands for. looplm convert makes it small again.

Examples:
  looplm merge ./my-chat-model runs/adapter --out ./merged
  looplm merge ./my-model-q4 runs/adapter --out ./merged --dtype bf16
`;

export function registerMerge(program: Command, io: CliIo): void {
  program
    .command('merge')
    .description('add an adapter to the weights of its model')
    .argument('<model>', 'model folder, or ORG/NAME on the hub')
    .argument('<adapter>', 'folder with adapter_config.json')
    .requiredOption('--out <folder>', 'new folder to write to')
    .addOption(
      new Option(
        '--dtype <type>',
        'storage type (default: that of the model, f32 for a converted one)',
      ).choices(['f32', 'bf16', 'f16']),
    )
    .option('--revision <name>', 'branch, tag or commit on the hub (default: main)')
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action((model: string, adapter: string, flags: Flags) => merge(model, adapter, flags, io));
}

async function merge(model: string, adapter: string, flags: Flags, io: CliIo): Promise<void> {
  const { out, dtype, revision } = flags;
  const { path } = await resolveShown(model, revision === undefined ? {} : { revision }, io);
  const report = await interruptible(io, (signal) =>
    mergeToFolder(path, adapter, out, { dtype, signal }),
  );
  const { numModules, widened } = report;
  const source = widened ? 'the model was converted, and is widened' : 'the rest is as it was';
  const text = flags.json
    ? JSON.stringify({ out, ...report })
    : `Merged ${numModules} matrices; ${source}. The model in ${report.dtype} is in ${printable(out)}: try looplm generate --model ${printable(out)}`;
  io.stdout.write(`${text}\n`);
}
