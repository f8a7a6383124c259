/**
 * `looplm train`: on a text, as a file describes it, or by the recipe of the bundled model.
 *
 * A run resumes by itself: the same command on the same folder goes on from the last snapshot, and
 * ends in the same weights as one that was never stopped.
 */
import { availableParallelism } from 'node:os';
import { join, parse } from 'node:path';
import { type Command, Option } from 'commander';
import { TRAIN_STEPS, VARIANTS, type Variant } from '../../../recipes/bundled/configs.js';
import { bundledRun } from '../../../recipes/bundled/train.js';
import { OURO_SIZES, type OuroSize, ouroTrainConfig } from '../../../recipes/ouro/stages.js';
import { ConfigError, RequestError } from '../../errors.js';
import type { Folder } from '../../model/index.js';
import { memoryFolder } from '../../model/index.js';
import { nodeFolder } from '../../platform/node/index.js';
import { DEFAULT_OUTER, METRICS_FILE } from '../../train/index.js';
import { LINE_FORMS } from '../documents.js';
import { printable } from '../../util/quote.js';
import type { CliIo } from '../io.js';
import { interruptible } from '../io.js';
import { parseCount, parseWhole } from '../parse-flags.js';
import { describePlan, planOf } from '../training/plan.js';
import { reportOutcome, whileReading } from '../training/report.js';
import { readRunFile, runOf } from '../training/run-file.js';
import type { TrainingRun } from '../training/run.js';
import { runTraining } from '../training/run.js';
import { describeDefaults } from '../training/schema.js';

const RECIPES = ['bundled', 'ouro'] as const;

interface Flags {
  readonly text?: string;
  readonly tokenizer?: string;
  readonly config?: string;
  readonly recipe?: (typeof RECIPES)[number];
  readonly variant?: Variant | OuroSize;
  readonly seed?: number;
  readonly like?: string;
  readonly plan?: true;
  readonly join?: string;
  readonly trainSteps?: number;
  readonly out?: string;
  readonly threads?: number;
  readonly json?: true;
}

const HELP = `
--text trains a small model on any UTF-8 text; its tokens are bytes unless --tokenizer names a folder.
--config names a JSON file that describes a run; paths in it are relative to the file. Only the data
are needed, and these are the defaults:
${describeDefaults()}
Three keys are left out unless they are wanted: "model" (keys of a config.json; the others follow from
them), "from" (in its place, the folder of a model to start from) and "tokenizer" (folder with
tokenizer.json). docs/training.md of the repository says what each key is.
Lines of JSONL: ${LINE_FORMS}.
Of an answer only its tokens count, of a text all; -100 marks targets that do not count.

A part of the data is held out: the loss on it at every depth is told on the way and at the end. A run
writes train-config.json, metrics.jsonl, loss.svg and snapshot.safetensors into its folder, and at the
end a model (config.json, model.safetensors, tokenizer files). Ctrl-C saves a snapshot; the same
command goes on from it.

Examples:
  looplm train --text notes.txt
  looplm train --text notes.txt --train-steps 3000 --out runs/notes
  looplm train --config train.json --out runs/mine
  looplm train --recipe bundled --out runs/bundled
  looplm train --recipe bundled --variant twin --like runs/bundled --out runs/twin
  looplm train --recipe ouro --plan
  looplm train --config together.json --join nats://localhost/my-run --out runs/mine
`;

export function registerTrain(program: Command, io: CliIo): void {
  program
    .command('train')
    .description('train a model; resumes where the folder has a snapshot')
    .option('--text <file>', 'train a small model on a text')
    .option('--tokenizer <folder>', 'for --text: folder with tokenizer.json (default: bytes)')
    .option('--config <file>', 'JSON file that describes a run')
    .addOption(new Option('--recipe <name>', 'a recipe of looplm').choices(RECIPES))
    .addOption(
      new Option('--variant <name>', 'model of the recipe (default: looped, 1.4b)').choices([
        ...VARIANTS,
        ...OURO_SIZES,
      ]),
    )
    .option('--seed <n>', 'of the recipe, in place of its own', parseWhole)
    .option('--like <folder>', 'run of the recipe whose lessons a twin or another seed follows')
    .option(
      '--train-steps <n>',
      `length of --text (default: 1000) or of the recipe (default: ${TRAIN_STEPS})`,
      parseCount,
    )
    .option('--out <folder>', 'folder of the run (default for --text: runs/ and its name)')
    .option('--threads <n>', 'threads to compute with (default: all cores)', parseCount)
    .option(
      '--join <address>',
      'train as one of the machines that meet at nats://HOST/RUN (docs/many-machines.md)',
    )
    .option('--plan', 'print the stages of the run with tokens and memory, and train nothing')
    .option('--json', 'print one JSON object at the end')
    .addHelpText('after', HELP)
    .action((flags: Flags) => trainCommand(flags, io));
}

async function trainCommand(flags: Flags, io: CliIo): Promise<void> {
  if (flags.plan) return planCommand(flags, io);
  const out = outOf(flags);
  const { threads: numThreads } = flags;
  const { run, outcome } = await interruptible(io, async (signal) => {
    const chosen = await chooseRun(flags, io, signal);
    const { join: address } = flags;
    const settled = address === undefined ? chosen : withOuter(chosen, flags);
    const options = { numThreads, join: address };
    return { run: settled, outcome: await runTraining(settled, out, options, io, signal) };
  });
  const todo = `looplm generate --model ${printable(out)} --prompt TEXT`;
  reportOutcome(run, outcome, { out, json: flags.json ?? false, todo }, io);
}

/** A run with settings of several machines: a file says them, and other runs have the defaults. */
function withOuter(run: TrainingRun, { config: path, recipe, like }: Flags): TrainingRun {
  if (run.config.outer) return run;
  if (recipe !== undefined && like === undefined) {
    throw new RequestError(
      `The lessons of the recipe ${recipe} follow what a run has measured of itself, and a machine that joins it has not. Add --like models/bundled, so that all are shown the lessons of one run, or leave out --join.`,
    );
  }
  if (path === undefined) return { ...run, config: { ...run.config, outer: DEFAULT_OUTER } };
  throw new ConfigError(
    'outer',
    `--join is given, and ${path} lacks "outer", which says how machines exchange what they learn. Add "outer": {} for the defaults.`,
  );
}

async function planCommand(flags: Flags, io: CliIo): Promise<void> {
  wayOf(flags);
  const numThreads = flags.threads ?? availableParallelism();
  const plan = await interruptible(io, async (signal) => {
    if (flags.recipe === 'ouro') {
      return planOf(ouroTrainConfig(variantOf(flags, OURO_SIZES)), numThreads);
    }
    const { config, source, frozen } = await chooseRun(flags, io, signal);
    const size = typeof source === 'function' ? {} : { rows: source.rows, length: source.length };
    return planOf({ ...size, ...config }, numThreads, frozen?.format);
  });
  io.stdout.write(`${flags.json ? JSON.stringify({ stages: plan }) : describePlan(plan)}\n`);
}

/** The variant of a recipe, by default its first. @throws RequestError for one of another recipe */
function variantOf<T extends string>({ variant, recipe }: Flags, known: readonly T[]): T {
  const found = known.find((name) => name === (variant ?? known[0]));
  if (found !== undefined) return found;
  throw new RequestError(
    `--variant is ${variant}, and those of the recipe ${recipe} are ${known.join(', ')}.`,
  );
}

const WAYS = ['text', 'config', 'recipe'] as const;

/** Flags that belong to some of the ways only. */
const OWN_FLAGS = {
  tokenizer: ['text'],
  variant: ['recipe'],
  seed: ['recipe'],
  like: ['recipe'],
  trainSteps: ['text', 'recipe'],
} as const satisfies Partial<Record<keyof Flags, readonly (typeof WAYS)[number][]>>;

/** The way to train that is asked for. @throws RequestError unless there is one, with its flags */
function wayOf(flags: Flags): (typeof WAYS)[number] {
  const given = WAYS.filter((way) => flags[way] !== undefined);
  const [way] = given;
  if (way === undefined || given.length > 1) {
    const got =
      way === undefined
        ? 'It is not said what to train on'
        : `${given.map((name) => `--${name}`).join(' and ')} are given together`;
    throw new RequestError(`${got}; give one of --text FILE, --config FILE and --recipe bundled.`);
  }
  for (const [flag, ways] of Object.entries(OWN_FLAGS)) {
    if (flags[flag as keyof Flags] === undefined || ways.some((own) => own === way)) continue;
    const name = flag === 'trainSteps' ? 'train-steps' : flag;
    const where = way === 'config' ? `state it in ${flags.config}` : 'leave it out';
    const owners = ways.map((own) => `--${own}`).join(' and ');
    throw new RequestError(`--${name} belongs to ${owners}; with --${way}, ${where}.`);
  }
  return way;
}

function outOf(flags: Flags): string {
  const way = wayOf(flags);
  if (flags.out) return flags.out;
  if (way === 'text' && flags.out === undefined) return join('runs', parse(flags.text!).name);
  throw new RequestError('No folder is given for the run; give --out FOLDER.');
}

/** What the flags say of a run of the bundled model. */
async function recipeRunOf(flags: Flags) {
  const { like, seed, plan } = flags;
  const folder =
    plan && flags.out === undefined ? memoryFolder('plan', new Map()) : nodeFolder(outOf(flags));
  return {
    variant: variantOf(flags, VARIANTS),
    folder,
    ...(seed !== undefined && { seed }),
    ...(like !== undefined && { like: await runToFollow(like) }),
  };
}

async function runToFollow(path: string): Promise<Folder> {
  const folder = nodeFolder(path);
  if (await folder.exists(METRICS_FILE)) return folder;
  throw new RequestError(
    `--like names ${path}, which has no ${METRICS_FILE}; name the folder of a run of the same recipe.`,
  );
}

async function chooseRun(flags: Flags, io: CliIo, signal: AbortSignal): Promise<TrainingRun> {
  const { text, tokenizer, config, recipe, trainSteps } = flags;
  const length = trainSteps === undefined ? {} : { trainSteps };
  if (recipe === 'ouro') {
    throw new RequestError(
      'The recipe ouro holds the stages of the paper, 7.7 trillion tokens of data that looplm does not have. See them with --plan; --config FILE trains stages of your own.',
    );
  }
  if (recipe) return bundledRun({ ...(await recipeRunOf(flags)), ...length });
  return whileReading(io, signal, async (reading) => {
    const options = { ...reading, numThreads: flags.threads };
    if (config !== undefined) return readRunFile(config, options);
    const data = { path: text!, format: 'text' } as const;
    return runOf({ data, ...(tokenizer !== undefined && { tokenizer }), ...length }, options);
  });
}
