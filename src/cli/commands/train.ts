/**
 * `looplm train`: the bundled model's recipe, or a run described by a file.
 *
 * A run resumes by itself: the same command on the same folder goes on from the last snapshot, and
 * ends in the same weights as one that was never stopped.
 */
import { type Command, Option } from 'commander';
import { VARIANTS, type Variant } from '../../../recipes/bundled/configs.js';
import { BUNDLED_TRAIN_STEPS, bundledRun } from '../../../recipes/bundled/train.js';
import { RequestError } from '../../errors.js';
import { LINE_FORMS } from '../documents.js';
import type { CliIo } from '../io.js';
import { InterruptedError } from '../io.js';
import { parseCount } from '../parse-flags.js';
import { TRAIN_FILE_EXAMPLE, readTrainFile } from '../train-file.js';
import type { TrainingOutcome, TrainingRun } from '../training.js';
import { runTraining } from '../training.js';

interface Flags {
  readonly recipe?: 'bundled';
  readonly variant?: Variant;
  readonly trainSteps?: number;
  readonly config?: string;
  readonly out: string;
  readonly threads?: number;
  readonly device: 'cpu' | 'webgpu';
  readonly json?: true;
}

const EXAMPLES = `
A run writes train-config.json, metrics.jsonl, loss.svg and snapshot.safetensors into its folder,
and at the end a model (config.json, model.safetensors, tokenizer files). Ctrl-C saves a snapshot;
the same command goes on from it.

The file of --config, with paths relative to the file:
${TRAIN_FILE_EXAMPLE}
Lines of the data: ${LINE_FORMS}.
Of an answer only its tokens count, of a text all; -100 marks targets that do not count.

Examples:
  looplm train --recipe bundled --out runs/bundled
  looplm train --recipe bundled --variant twin --out runs/twin
  looplm train --config train.json --out runs/mine
`;

/** Small matrices: a second thread of the recipe's model costs more than it brings. */
const RECIPE_THREADS = 1;

export function registerTrain(program: Command, io: CliIo): void {
  program
    .command('train')
    .description('train a model; resumes where the folder has a snapshot')
    .addOption(new Option('--recipe <name>', 'a recipe of looplm').choices(['bundled']))
    .addOption(
      new Option('--variant <name>', 'model of the recipe (default: looped)').choices(VARIANTS),
    )
    .option(
      '--train-steps <n>',
      `length of the recipe (default: ${BUNDLED_TRAIN_STEPS})`,
      parseCount,
    )
    .option('--config <file>', 'JSON file that describes a run, instead of a recipe')
    .requiredOption('--out <folder>', 'folder of the run')
    .option(
      '--threads <n>',
      `threads inside one operator (default: ${RECIPE_THREADS} for the recipe, else all cores)`,
      parseCount,
    )
    .addOption(
      new Option('--device <kind>', 'what computes').choices(['cpu', 'webgpu']).default('cpu'),
    )
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => trainCommand(flags, io));
}

async function trainCommand(flags: Flags, io: CliIo): Promise<void> {
  const run = await runOf(flags);
  const numThreads = flags.threads ?? (flags.recipe ? RECIPE_THREADS : undefined);
  const device = { device: flags.device, ...(numThreads !== undefined && { numThreads }) };
  const outcome = await runTraining(run, flags.out, device, io);
  const { trainSteps } = run.config;
  const text = flags.json
    ? JSON.stringify(summaryOf(outcome, trainSteps, flags.out))
    : sentenceOf(outcome, trainSteps, flags.out);
  io.stdout.write(`${text}\n`);
  if (!outcome.finished) throw new InterruptedError();
}

async function runOf({ recipe, variant, trainSteps, config }: Flags): Promise<TrainingRun> {
  if ((recipe === undefined) === (config === undefined)) {
    const got =
      recipe === undefined ? 'Neither --recipe nor --config is' : 'Both --recipe and --config are';
    throw new RequestError(`${got} given; give --recipe bundled or --config FILE.`);
  }
  if (config === undefined) {
    return bundledRun({
      variant: variant ?? 'looped',
      ...(trainSteps !== undefined && { trainSteps }),
    });
  }
  if (variant !== undefined || trainSteps !== undefined) {
    const flag = variant === undefined ? '--train-steps' : '--variant';
    throw new RequestError(`${flag} belongs to --recipe; with --config, state it in ${config}.`);
  }
  return readTrainFile(config);
}

function summaryOf(outcome: TrainingOutcome, trainSteps: number, out: string): object {
  const { finished, trainStepsDone, lastRecord } = outcome;
  return { out, finished, trainStepsDone, trainSteps, lastRecord: lastRecord ?? null };
}

function sentenceOf(outcome: TrainingOutcome, trainSteps: number, out: string): string {
  return outcome.finished
    ? `Trained ${trainSteps} train steps. The model is in ${out}: try looplm generate --model ${out}`
    : `Stopped after ${outcome.trainStepsDone} of ${trainSteps} train steps. The same command goes on from there.`;
}
