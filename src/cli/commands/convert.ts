/**
 * `looplm convert`: a checkpoint into 4- or 8-bit blocks or other floats, and what that cost.
 */
import { type Command, Option } from 'commander';
import type {
  ConversionReport,
  ConversionSettings,
  ResolvedModel,
} from '../../platform/node/index.js';
import { convertModel } from '../../platform/node/index.js';
import { openByteProgress } from '../byte-progress.js';
import { errorsByPart, errorTable } from '../conversion-errors.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import { parseCount } from '../parse-flags.js';
import { resolveShown } from '../resolve.js';
import { styleOf } from '../style.js';
import { printable } from '../../util/quote.js';
import { shortBytes } from '../table.js';

interface Flags extends Omit<ConversionSettings, 'blockSize'> {
  readonly out: string;
  readonly blockSize?: '32' | '64' | '128';
  readonly revision?: string;
  readonly workers?: number;
  readonly json?: true;
}

const EXAMPLES = `
q4 and q8 keep the layers' matrices as integers in blocks that share a scale; norms and the exit gate
stay float32. Without --calibration, scale-search takes all inputs of a matrix as equally important.
Ctrl-C keeps what is done; the same command goes on from there.

Examples:
  looplm convert ByteDance/Ouro-1.4B --dtype q4 --out ./ouro-q4
  looplm convert ./my-model --dtype q8 --head q8 --out ./my-model-q8
  looplm convert ./my-model --dtype q4 --block-size 32 --calibration ./calibration.safetensors --out ./q4
`;

export function registerConvert(program: Command, io: CliIo): void {
  const choice = (flag: string, text: string, choices: readonly string[]) =>
    new Option(flag, text).choices(choices);
  program
    .command('convert')
    .description('convert a model to 4 or 8 bits or other floats; resumes what was interrupted')
    .argument('<model>', 'model folder, or ORG/NAME on the hub')
    .addOption(
      choice('--dtype <type>', 'format of the layers', [
        'q4',
        'q8',
        'f16',
        'f32',
      ]).makeOptionMandatory(),
    )
    .requiredOption('--out <folder>', 'new folder to write to')
    .addOption(
      choice('--block-size <n>', 'weights that share a scale (default: q4 64, q8 128)', [
        '32',
        '64',
        '128',
      ]),
    )
    .addOption(
      choice(
        '--method <name>',
        'choice of integers (default: q4 scale-search, q8 round-to-nearest)',
        ['round-to-nearest', 'scale-search'],
      ),
    )
    .option('--calibration <file>', 'importance of inputs, written by looplm calibrate')
    .addOption(
      choice('--head <type>', 'format of the head (default: q4 q8, q8 f16)', ['q8', 'f16', 'f32']),
    )
    .addOption(
      choice('--embedding <type>', 'format of the embedding (default: f16)', ['f16', 'f32']),
    )
    .option('--revision <name>', 'branch, tag or commit on the hub (default: main)')
    .option('--workers <n>', 'threads (default: all cores)', parseCount)
    .option('--json', 'print the whole report as one JSON object')
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: Flags) => convert(model, flags, io));
}

async function convert(model: string, flags: Flags, io: CliIo): Promise<void> {
  const { revision } = flags;
  const source = await resolveShown(model, revision === undefined ? {} : { revision }, io);
  const report = await interruptible(io, async (signal) => {
    try {
      return await convertShown(source, flags, signal, io);
    } catch (error) {
      if (!signal.aborted) throw error;
      io.stderr.write('Stopped. What is done is kept; the same command goes on from there.\n');
      throw new InterruptedError();
    }
  });
  const lines = flags.json ? [JSON.stringify(report)] : reportLines(report, flags.out, io);
  io.stdout.write(`${lines.join('\n')}\n`);
}

async function convertShown(
  source: ResolvedModel,
  flags: Flags,
  signal: AbortSignal,
  io: CliIo,
): Promise<ConversionReport> {
  const { out, revision: _, workers, json: __, blockSize, ...settings } = flags;
  const converting = openByteProgress(io, 'converting');
  try {
    return await convertModel(source.path, out, {
      ...settings,
      ...(blockSize !== undefined && { blockSize: Number(blockSize) as 32 | 64 | 128 }),
      ...(source.revision !== undefined && { revision: source.revision }),
      ...(workers !== undefined && { numWorkers: workers }),
      signal,
      progress: ({ doneBytes, totalBytes }) => converting.show(doneBytes, totalBytes),
    });
  } finally {
    converting.stop();
  }
}

function reportLines(report: ConversionReport, out: string, io: CliIo): string[] {
  const { source, tensors, settings, seconds } = report;
  const { bold } = styleOf(io);
  const calibrated = settings.calibration === null ? 'without calibration' : 'with calibration';
  const method =
    settings.method === 'scale-search' ? `, scale-search ${calibrated}` : `, ${settings.method}`;
  const isQuantised = settings.body.kind === 'blocks' || settings.head.kind === 'blocks';
  return [
    `${bold('converted')}  ${shortBytes(source.sizeBytes)} to ${shortBytes(report.sizeBytes)}${isQuantised ? method : ''}, in ${seconds.toFixed(1)} s`,
    ...errorTable(errorsByPart(tensors)),
    `Errors are relative to the weights. The model is in ${printable(out)}: try looplm generate --model ${printable(out)}`,
  ];
}
