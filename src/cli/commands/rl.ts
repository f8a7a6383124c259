/**
 * `looplm rl`: a model taught by rewards, at whatever depth its tokens exit.
 */
import { type Command, Option } from 'commander';
import { CUPS_SETTINGS, cupsTask } from '../../../recipes/rl/cups.js';
import { ConfigError } from '../../errors.js';
import { bundledModelPath } from '../../platform/node/index.js';
import type { PolicyTask } from '../../rl/index.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { parseCount } from '../parse-flags.js';
import type { RLFileInput } from '../rl/rl-file.js';
import { parseRLFile, readRLFile, rlRunOf } from '../rl/rl-file.js';
import { reportOutcome } from '../training/report.js';
import type { TrainingRun } from '../training/run.js';
import { runTraining } from '../training/run.js';

interface Recipe {
  readonly task: PolicyTask;
  readonly settings: Omit<RLFileInput, 'from' | 'task'>;
}

const RECIPES = {
  cups: { task: cupsTask, settings: CUPS_SETTINGS },
} as const satisfies Record<string, Recipe>;

interface Flags {
  readonly recipe?: keyof typeof RECIPES;
  readonly config?: string;
  readonly out: string;
  readonly trainSteps?: number;
  readonly threads?: number;
  readonly json?: true;
}

const HELP = `
A task is a JavaScript module that exports an object by default: name, draw(rng, difficulty), which gives a
problem with its prompt, and reward(answer, problem). The file names it:
  {"from": "./model", "task": "./task.js", "groups": 8, "groupSize": 8, "maxNewTokens": 64}
docs/rl.md of the repository says what each key is, and what the figures mean.

Each update draws groups of answers at sampled depths, and replays them with the exact probability of every
token and of every exit. The folder is that of a run: Ctrl-C saves a snapshot, and the same command
goes on from it, to the same bits.

Examples:
  looplm rl --recipe cups --out runs/cups
  looplm rl --config rl.json --out runs/mine
`;

export function registerRL(program: Command, io: CliIo): void {
  program
    .command('rl')
    .description('teach a model by rewards, depth included; resumes where it was stopped')
    .addOption(
      new Option('--recipe <name>', 'a task of looplm for the bundled model').choices(
        Object.keys(RECIPES),
      ),
    )
    .option('--config <file>', 'JSON file that describes a run')
    .requiredOption('--out <folder>', 'folder of the run')
    .option('--train-steps <n>', 'updates of the recipe', parseCount)
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseCount)
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action((flags: Flags) => rl(flags, io));
}

async function rl(flags: Flags, io: CliIo): Promise<void> {
  const { out, json = false } = flags;
  const { run, outcome } = await interruptible(io, async (signal) => {
    const chosen = await chooseRun(flags, (sentence) => io.stderr.write(`${sentence}\n`));
    const options = { numThreads: flags.threads };
    return { run: chosen, outcome: await runTraining(chosen, out, options, io, signal) };
  });
  const todo = `looplm generate --model ${printable(out)} --prompt TEXT`;
  reportOutcome(run, outcome, { out, json, todo }, io);
}

async function chooseRun(
  { recipe, config, trainSteps }: Flags,
  onFault: (sentence: string) => void,
): Promise<TrainingRun> {
  if ((recipe === undefined) === (config === undefined)) {
    throw new ConfigError('config', 'Give either --config FILE or --recipe NAME.');
  }
  if (config !== undefined) {
    if (trainSteps === undefined) return readRLFile(config, onFault);
    throw new ConfigError(
      'trainSteps',
      '--train-steps is for a recipe; write training.trainSteps into the file.',
    );
  }
  const { task, settings } = RECIPES[recipe!];
  const { training } = settings;
  const input: RLFileInput = {
    ...settings,
    from: bundledModelPath(),
    task: task.name,
    training: { ...training, ...(trainSteps !== undefined && { trainSteps }) },
  };
  return rlRunOf(parseRLFile(input, 'the recipe'), task, onFault);
}
