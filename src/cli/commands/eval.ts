/**
 * `looplm eval`: accuracy and loss of a model after each of its loops, and under Q-exit.
 *
 * One pass of each document at full depth tells them all (src/eval/). Without --data it asks the
 * questions of the bundled model, by task and difficulty.
 */
import { setImmediate } from 'node:timers/promises';
import type { Command } from 'commander';
import { Option } from 'commander';
import { Scribe } from '../../../recipes/bundled/documents.js';
import type { Kind } from '../../../recipes/bundled/evaluation/question-sets.js';
import { KINDS, drawSets } from '../../../recipes/bundled/evaluation/question-sets.js';
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

type Flags = ModelFlags & {
  readonly data?: string;
  readonly questions: number;
  readonly questionSet: Kind;
  readonly numLoops?: number;
  readonly threshold?: number;
  readonly json?: true;
};

const DEFAULT_QUESTIONS = 20;
/** Of one difficulty; more would be drawn for long. */
const MAX_QUESTIONS = 2000;

const EXAMPLES = `
Lines of the data: ${LINE_FORMS}.
Each line is measured alone, as if there were no others, and counts as often as it has labels: the
tokens of its answer, all tokens of a text, or the targets that are no -100.

Examples:
  looplm eval                                   questions of the bundled model, as somebody types them
  looplm eval --question-set held-out-wording   in words that it was never trained on
  looplm eval --questions 50 --num-loops 8
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
      "JSONL of labelled documents; the bundled model's questions if left out",
    )
    .option(
      '--questions <n>',
      'questions of each difficulty',
      wholeFrom(1, MAX_QUESTIONS),
      DEFAULT_QUESTIONS,
    )
    .addOption(
      new Option('--question-set <kind>', 'uniform: of all, whether or not training has seen them')
        .choices(KINDS)
        .default('uniform'),
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
        ? await questionGroups(model, flags, signal)
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

async function questionGroups(
  { tokenizer }: LoopLM,
  { questions: count, questionSet }: Flags,
  signal: AbortSignal,
): Promise<Group[]> {
  if (!tokenizer) {
    throw new ConfigError(
      'data',
      'The model folder has no tokenizer.json, which the questions need; give --data with lines of ids and targets.',
    );
  }
  const groups: Group[] = [];
  const scribe = new Scribe((words) => tokenizer.encode(words));
  for (const { task, difficulty, questions } of drawSets(scribe, count, [questionSet])) {
    groups.push({ name: `${task} ${difficulty}`, documents: questions });
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
