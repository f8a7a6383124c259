/**
 * `looplm rl`: a model taught by rewards, at whatever depth its tokens exit.
 */
import { type Command, Option } from 'commander';
import { CUPS_SETTINGS, cupsTask } from '../../../recipes/rl/cups.js';
import { ConfigError, RequestError } from '../../errors.js';
import { bundledModelPath, connectRun } from '../../platform/node/index.js';
import type { PolicyTask } from '../../rl/index.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { parseCount } from '../parse-flags.js';
import type { RLFileInput, RLRun, RLRunOptions } from '../rl/rl-file.js';
import { parseRLFile, readRLFile, rlRunOf } from '../rl/rl-file.js';
import { rollOutFor } from '../rl/worker.js';
import { reportOutcome } from '../training/report.js';
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
  readonly out?: string;
  readonly workers?: string;
  readonly join?: string;
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

With --workers other machines draw, as many as join; each needs only the address (docs/rl.md).

Examples:
  looplm rl --recipe cups --out runs/cups
  looplm rl --config rl.json --out runs/mine
  looplm rl --config rl.json --out runs/mine --workers nats://localhost/my-run
  looplm rl --join nats://localhost/my-run
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
    .option('--out <folder>', 'folder of the run')
    .option('--workers <address>', 'let the workers that meet at nats://HOST/RUN draw')
    .option('--join <address>', 'be one of those workers, with nothing else given')
    .option('--train-steps <n>', 'updates of the recipe', parseCount)
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseCount)
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action((flags: Flags) => rl(flags, io));
}

async function rl(flags: Flags, io: CliIo): Promise<void> {
  const { out, join: address, threads, json = false } = flags;
  if (address !== undefined) {
    checkWorker(flags);
    return rollOutFor(address, { threads, json }, io);
  }
  if (out === undefined) {
    throw new RequestError('No folder is given for the run; give --out FOLDER.');
  }
  const note = (sentence: string) => void io.stderr.write(`${sentence}\n`);
  const { run, outcome } = await interruptible(io, async (signal) => {
    const meet = { env: io.env, onNote: note, signal };
    const store = flags.workers === undefined ? undefined : await connectRun(flags.workers, meet);
    try {
      const workers = store && { store, onNote: note };
      const chosen = await chooseRun(flags, { workers, onFault: note });
      const found = await runTraining(chosen, out, { numThreads: threads }, io, signal);
      if (found.finished) await chosen.rollouts?.finish();
      return { run: chosen, outcome: found };
    } finally {
      await store?.close();
    }
  });
  const todo = `looplm generate --model ${printable(out)} --prompt TEXT`;
  reportOutcome(run, outcome, { out, json, todo }, io);
}

/** @throws RequestError for a flag of a trainer */
function checkWorker({ recipe, config, out, workers, trainSteps }: Flags): void {
  const given = { recipe, config, out, workers, 'train-steps': trainSteps };
  const [first] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (first === undefined) return;
  throw new RequestError(
    `--join and --${first} are given together: a worker takes all that it needs from the run. Leave --${first} out, or --join.`,
  );
}

async function chooseRun(
  { recipe, config, trainSteps }: Flags,
  options: RLRunOptions,
): Promise<RLRun> {
  if ((recipe === undefined) === (config === undefined)) {
    throw new ConfigError('config', 'Give either --config FILE or --recipe NAME.');
  }
  if (config !== undefined) {
    if (trainSteps === undefined) return readRLFile(config, options);
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
  return rlRunOf(parseRLFile(input, 'the recipe'), task, options);
}
