/**
 * `looplm eval`: accuracy and loss of a model after each of its loops, and under Q-exit.
 *
 * One pass at full depth tells them all (src/eval/). Without --data it measures the held-out problems
 * of the bundled model, by kind and difficulty.
 */
import { realpath } from 'node:fs/promises';
import type { Command } from 'commander';
import { trainedSets } from '../../../recipes/bundled/evaluation/problem-sets.js';
import type { TrainingDocument } from '../../data/index.js';
import { ConfigError } from '../../errors.js';
import type { LoopReadings } from '../../eval/index.js';
import type { LoadedWeights } from '../../model/index.js';
import { loadWeights } from '../../model/index.js';
import { createNodeDevice, nodeFolder, readTextFile } from '../../platform/node/index.js';
import { loadTokenizer } from '../../loop-lm.js';
import type { Tokenizer } from '../../tokenizer/index.js';
import { LINE_FORMS, readDocuments } from '../documents.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addModelFlags, noteModelFiles, prepareModelOf } from '../model-flags.js';
import { parseCount, parseNumber } from '../parse-flags.js';
import { table } from '../table.js';

type Flags = ModelFlags & {
  readonly data?: string;
  readonly problems: number;
  readonly numLoops?: number;
  readonly threshold?: number;
  readonly json?: true;
};

const DEFAULT_PROBLEMS = 40;

const EXAMPLES = `
Lines of the data: ${LINE_FORMS}.

Examples:
  looplm eval                                   held-out problems of the bundled model
  looplm eval --problems 200 --num-loops 8
  looplm eval --model ./my-model --data problems.jsonl --threshold 0.7 --json
`;

export function registerEval(program: Command, io: CliIo): void {
  const command = program
    .command('eval')
    .description('measure accuracy and loss by depth')
    .addHelpText('after', EXAMPLES);
  addModelFlags(command)
    .option(
      '--data <file>',
      "JSONL of labelled documents; the bundled model's problems if left out",
    )
    .option('--problems <n>', 'held-out problems of each difficulty', parseCount, DEFAULT_PROBLEMS)
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

/** What is said of a group. */
interface Figures {
  readonly name: string;
  readonly labels: number;
  /** Entry `depth - 1` belongs to `depth`. */
  readonly accuracyByDepth: readonly number[];
  /** Cross-entropy in nats. */
  readonly lossByDepth: readonly number[];
  /** Under Q-exit at the threshold. */
  readonly exit: { readonly accuracy: number; readonly meanDepth: number };
}

async function evaluate(flags: Flags, io: CliIo): Promise<void> {
  const folder = nodeFolder(await realpath(await prepareModelOf(flags, io)));
  const checkpoint = await loadWeights(folder);
  noteModelFiles(checkpoint, io);
  const tokenizer = await loadTokenizer(folder);
  const groups = await groupsOf(flags, checkpoint, tokenizer);
  const threshold = flags.threshold ?? checkpoint.config.exitThreshold;
  const figures = await measure(groups, threshold, flags, checkpoint);
  const text = flags.json
    ? JSON.stringify({ threshold, groups: figures })
    : tablesOf(figures, threshold).join('\n');
  io.stdout.write(`${text}\n`);
}

async function groupsOf(
  { data, problems }: Flags,
  { config }: LoadedWeights,
  tokenizer: Tokenizer | undefined,
): Promise<Group[]> {
  if (data !== undefined) {
    const text = await readTextFile(data);
    const documents = readDocuments(text, { path: data, config, tokenizer, labelsEnd: false });
    return [{ name: data, documents }];
  }
  if (!tokenizer) {
    throw new ConfigError(
      'data',
      'The model folder has no tokenizer.json, which the problems need; give --data with lines of ids and targets.',
    );
  }
  const sets = trainedSets((text) => tokenizer.encode(text), problems);
  return sets.map(({ task, difficulty, documents }) => ({
    name: `${task} ${difficulty}`,
    documents,
  }));
}

async function measure(
  groups: readonly Group[],
  threshold: number,
  flags: Flags,
  { config, weights }: LoadedWeights,
): Promise<Figures[]> {
  const { readLoops } = await import('../../eval/index.js');
  const documents = groups.flatMap((group) => group.documents);
  const { threads, device: kind, numLoops } = flags;
  const device = await createNodeDevice({
    device: kind,
    ...(threads !== undefined && { numThreads: threads }),
  });
  try {
    const readings = await readLoops(
      {
        device,
        config,
        weights,
        ...batchSize(documents, config.maxPositionEmbeddings),
        split: true,
        ...(numLoops !== undefined && { numLoops }),
      },
      documents,
    );
    let start = 0;
    const figures: Figures[] = [];
    for (const {
      name,
      documents: { length },
    } of groups) {
      const end = start + length;
      const own = readings.filter(({ documentIndex: i }) => i >= start && i < end);
      if (own.length > 0) figures.push(await figuresOf(name, own, threshold));
      start = end;
    }
    return figures;
  } finally {
    await device.dispose();
  }
}

/** Positions of a batch; more need more memory. */
const BATCH_POSITIONS = 2048;

/** Rows as long as the longest document, within the context. */
function batchSize(
  documents: readonly TrainingDocument[],
  context: number,
): { rows: number; length: number } {
  const longest = documents.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  const length = Math.min(longest, context, BATCH_POSITIONS);
  return { rows: Math.max(1, Math.floor(BATCH_POSITIONS / length)), length };
}

async function figuresOf(
  name: string,
  readings: readonly LoopReadings[],
  threshold: number,
): Promise<Figures> {
  const { accuracyByDepth, frontier, meanRows } = await import('../../eval/index.js');
  const [point] = frontier([readings], 'cdf', [threshold]);
  const { accuracy, meanDepth } = point!;
  return {
    name,
    labels: readings.length,
    accuracyByDepth: accuracyByDepth(readings),
    lossByDepth: meanRows(readings.map(({ loops }) => loops.map(({ loss }) => loss))),
    exit: { accuracy, meanDepth },
  };
}

function tablesOf(figures: readonly Figures[], threshold: number): string[] {
  const numLoops = figures[0]?.accuracyByDepth.length ?? 0;
  const depths = Array.from({ length: numLoops }, (_, loopIndex) => `depth ${loopIndex + 1}`);
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const accuracy = figures.map(({ name, labels, accuracyByDepth: shares, exit }) => [
    name,
    String(labels),
    ...shares.map(percent),
    percent(exit.accuracy),
    exit.meanDepth.toFixed(2),
  ]);
  const loss = figures.map(({ name, lossByDepth }) => [
    name,
    ...lossByDepth.map((value) => value.toFixed(3)),
  ]);
  return [
    `Accuracy after each loop, and under Q-exit with q = ${threshold}:`,
    ...table([['', 'labels', ...depths, 'Q-exit', 'mean depth'], ...accuracy]),
    '',
    'Loss after each loop, nats for each label:',
    ...table([['', ...depths], ...loss]),
  ];
}
