/**
 * `looplm eval`: accuracy and loss of a model after each of its loops, and under Q-exit.
 *
 * One pass of each document at full depth tells them all (src/eval/). Without --data it measures
 * problems of the bundled model, by kind and difficulty.
 */
import { setImmediate } from 'node:timers/promises';
import type { Command } from 'commander';
import { Option } from 'commander';
import {
  drawTrainedSets,
  drawUniformSets,
} from '../../../recipes/bundled/evaluation/problem-sets.js';
import type { TrainingDocument } from '../../data/index.js';
import { cdfThreshold } from '../../engine/index.js';
import { ConfigError } from '../../errors.js';
import type { DepthFigures } from '../../eval/index.js';
import type { LoopLM } from '../../loop-lm.js';
import { hasExitGate } from '../../model/index.js';
import { readTextFile } from '../../platform/node/index.js';
import { openProgress } from '../byte-progress.js';
import { LINE_FORMS, readDocuments } from '../documents.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { parseCount, parseNumber, wholeFrom } from '../parse-flags.js';
import { table } from '../table.js';

const PROBLEM_SETS = { 'held-out': drawTrainedSets, uniform: drawUniformSets } as const;

type Flags = ModelFlags & {
  readonly data?: string;
  readonly problems: number;
  readonly problemSet: keyof typeof PROBLEM_SETS;
  readonly numLoops?: number;
  readonly threshold?: number;
  readonly json?: true;
};

const DEFAULT_PROBLEMS = 40;
/** Of one difficulty; more would be drawn for long. */
const MAX_PROBLEMS = 2000;

const EXAMPLES = `
Lines of the data: ${LINE_FORMS}.
Each line is measured alone, as if there were no others, and counts as often as it has labels: the
tokens of its answer, all tokens of a text, or the targets that are no -100.

Examples:
  looplm eval                                   held-out problems of the bundled model
  looplm eval --problem-set uniform             problems as somebody types them
  looplm eval --problems 200 --num-loops 8
  looplm eval --model ./my-model --data problems.jsonl --threshold 0.7 --json
`;

export function registerEval(program: Command, io: CliIo): void {
  const command = program
    .command('eval')
    .description('measure accuracy and loss by depth')
    .addHelpText('after', EXAMPLES);
  addEngineFlags(command)
    .option(
      '--data <file>',
      "JSONL of labelled documents; the bundled model's problems if left out",
    )
    .option(
      '--problems <n>',
      'problems of each difficulty',
      wholeFrom(1, MAX_PROBLEMS),
      DEFAULT_PROBLEMS,
    )
    .addOption(
      new Option(
        '--problem-set <kind>',
        'held-out: unseen, drawn as in training; uniform: of all problems, seen or not',
      )
        .choices(Object.keys(PROBLEM_SETS))
        .default('held-out'),
    )
    .option('--num-loops <n>', "loops to run (default: the model's)", parseCount)
    .option('--threshold <q>', "q of Q-exit (default: the model's)", parseNumber)
    .option('--json', 'print one JSON object instead of the tables')
    .action((flags: Flags) => evaluate(flags, io));
}

/** Documents that are reported together. */
interface Group {
  readonly name: string;
  readonly documents: readonly TrainingDocument[];
}

type GroupFigures = { readonly name: string } & DepthFigures;

async function evaluate(flags: Flags, io: CliIo): Promise<void> {
  if (flags.threshold !== undefined) cdfThreshold(flags.threshold); // refuses what it cannot be
  const text = flags.data === undefined ? undefined : await readTextFile(flags.data);
  await withModel(flags, io, async (model, signal) => {
    const hasGate = hasExitGate(model.config);
    if (flags.threshold !== undefined && !hasGate) {
      throw new ConfigError(
        'threshold',
        `--threshold is ${flags.threshold}, but the model has no exit gate to compare with it: every token runs all loops. Leave it out.`,
      );
    }
    const threshold = flags.threshold ?? model.config.exitThreshold;
    const groups =
      text === undefined
        ? await problemGroups(model, flags, signal)
        : [dataGroup(model, flags.data!, text)];
    const figures = await measure(model, groups, { ...flags, threshold, signal }, io);
    const result = flags.json
      ? JSON.stringify({ threshold, groups: figures })
      : tablesOf(figures, hasGate ? threshold : undefined).join('\n');
    io.stdout.write(`${result}\n`);
  });
}

function dataGroup({ config, tokenizer }: LoopLM, path: string, text: string): Group {
  const maxLength = config.maxPositionEmbeddings;
  const documents = readDocuments(text, { path, config, tokenizer, labelsEnd: false, maxLength });
  if (documents.some(({ targets }) => targets.some((targetId) => targetId >= 0))) {
    return { name: path, documents };
  }
  throw new ConfigError(
    'data',
    `${path} has no label: every target in it is -100, so there is nothing to measure. Give at least one target that is a token.`,
  );
}

async function problemGroups(
  { tokenizer }: LoopLM,
  { problems, problemSet }: Flags,
  signal: AbortSignal,
): Promise<Group[]> {
  if (!tokenizer) {
    throw new ConfigError(
      'data',
      'The model folder has no tokenizer.json, which the problems need; give --data with lines of ids and targets.',
    );
  }
  const groups: Group[] = [];
  const draw = PROBLEM_SETS[problemSet];
  for (const { task, difficulty, documents } of draw(
    (words) => tokenizer.encode(words),
    problems,
  )) {
    groups.push({ name: `${task} ${difficulty}`, documents });
    await setImmediate(); // Ctrl-C is heard
    signal.throwIfAborted();
  }
  return groups;
}

async function measure(
  model: LoopLM,
  groups: readonly Group[],
  options: {
    readonly threshold: number;
    readonly numLoops?: number;
    readonly signal: AbortSignal;
  },
  io: CliIo,
): Promise<GroupFigures[]> {
  const { threshold: exitThreshold, numLoops, signal } = options;
  const { depthFigures } = await import('../../eval/index.js');
  const progress = openProgress(io, 'evaluating', ' loops');
  try {
    const figures = await depthFigures(
      model,
      groups.map(({ documents }) => documents),
      {
        exitThreshold,
        signal,
        onProgress: (done, total) => progress.show(done, total),
        ...(numLoops !== undefined && { numLoops }),
      },
    );
    return figures.map((figure, index) => ({ name: groups[index]!.name, ...figure }));
  } finally {
    progress.stop();
  }
}

/** @param threshold - of Q-exit; undefined for a model without an exit gate */
function tablesOf(figures: readonly GroupFigures[], threshold: number | undefined): string[] {
  const numLoops = figures[0]?.accuracyByDepth.length ?? 0;
  const depths = Array.from({ length: numLoops }, (_, loopIndex) => `depth ${loopIndex + 1}`);
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const accuracy = figures.map(({ name, labels, accuracyByDepth: shares, exit }) => [
    name,
    String(labels),
    ...shares.map(percent),
    ...(threshold === undefined ? [] : [percent(exit.accuracy), exit.meanDepth.toFixed(2)]),
  ]);
  const loss = figures.map(({ name, lossByDepth }) => [
    name,
    ...lossByDepth.map((value) => value.toFixed(3)),
  ]);
  const losses = [
    'Loss after each loop, nats for each label:',
    ...table([['', ...depths], ...loss]),
  ];
  if (threshold === undefined) {
    return [
      'Accuracy after each loop; the model has no exit gate:',
      ...table([['', 'labels', ...depths], ...accuracy]),
      '',
      ...losses,
    ];
  }
  return [
    `Accuracy after each loop, and under Q-exit with q = ${threshold}:`,
    ...table([['', 'labels', ...depths, 'Q-exit', 'mean depth'], ...accuracy]),
    '',
    ...losses,
    '',
    'The mean depth is that of the labelled tokens; looplm generate tells what a run executes, prompt included.',
  ];
}
