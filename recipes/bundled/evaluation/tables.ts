/**
 * The figures of the bundled model as markdown: the tables of its model card and of the README.
 */
import type { KvPolicy } from 'looplm/engine';
import { KV_POLICIES } from 'looplm/engine';
import type { PrefillMode } from 'looplm/engine';
import { mean, meanRows } from 'looplm/eval';
import { twoDraws, uniformTable, weakestSentence } from './draw-tables.js';
import type { Cell, Comparison, Evaluation, GateName } from './figures.js';
import {
  at,
  depths,
  meanOverProblems,
  percent,
  section,
  shareWithInterval,
  table,
  tallyAt,
  trainedLengths,
  trainedRange,
} from './markdown.js';
import { cheapestOfPolicies } from './measure.js';
import type { TaskName } from './problem-sets.js';
import { isTrainedLength, TASK_NAMES } from './problem-sets.js';
import type { PolicyPoint } from './streams.js';
import { policySpec } from './streams.js';

/** Name of a compared model and its accuracy on a task at a difficulty. */
interface Rival {
  readonly variant: Comparison['models'][number]['variant'];
  accuracy(task: TaskName, difficulty: number): number;
}

/** All tables, for the model card. */
export function evaluationTables(evaluation: Evaluation, comparison?: Comparison): string {
  const rivals = rivalsOf(comparison);
  return [
    summary(evaluation, rivals),
    twoDraws(evaluation),
    comparison ? comparedModels(comparison) : '',
    byDifficulty(evaluation, rivals),
    uniformTable(evaluation),
    policyTable(evaluation),
    gateTable(evaluation),
    streamTable(evaluation),
    moreLoops(evaluation),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** The few lines of the README. */
export function readmeTables(evaluation: Evaluation): string {
  const { numLoops } = evaluation.model;
  const trained = (task: TaskName) => evaluation.trained.filter((cell) => cell.task === task);
  const uniform = (task: TaskName) => trainedLengths(evaluation.uniform, task);
  const full = (cells: readonly Cell[]) => shareWithInterval(tallyAt(cells, numLoops));
  return [
    `Right answers at full depth on problems of trained lengths, with 95 % intervals:`,
    table(
      ['problems', ...TASK_NAMES],
      [
        ['held out, drawn as in training', ...TASK_NAMES.map((task) => full(trained(task)))],
        ['uniform, as somebody types them', ...TASK_NAMES.map((task) => full(uniform(task)))],
      ],
    ),
    `${weakestSentence(evaluation.uniform, numLoops)} ${executedSentence(evaluation)}`,
  ].join('\n\n');
}

function summary(evaluation: Evaluation, rivals: readonly Rival[]): string {
  const { model, trained, rankCorrelation, gates, shipped } = evaluation;
  const rows = TASK_NAMES.map((task) => {
    const cells = trained.filter((cell) => cell.task === task);
    return {
      numProblems: cells.reduce((sum, { n }) => sum + n, 0),
      accuracies: [
        ...depths(model.numLoops).map((depth) =>
          meanOverProblems(cells, (cell) => at(cell, depth)),
        ),
        ...rivals.map(({ accuracy }) =>
          meanOverProblems(cells, (cell) => accuracy(task, cell.difficulty)),
        ),
      ],
      exitDepth: meanOverProblems(cells, ({ meanExitDepth }) => meanExitDepth),
    };
  });
  const line = (
    name: string,
    { numProblems, accuracies, exitDepth }: (typeof rows)[number],
    rank: string,
  ) => [name, String(numProblems), ...accuracies.map(percent), exitDepth.toFixed(2), rank];
  const total = {
    numProblems: rows.reduce((sum, { numProblems }) => sum + numProblems, 0),
    accuracies: meanRows(rows.map(({ accuracies }) => accuracies)),
    exitDepth: shipped.meanDepth,
  };
  const { cheapest, equalDifficulties: equal } = gates[0]!;
  return [
    `Accuracy on held-out problems of trained lengths, drawn as in training; the last row is the mean over tasks. "Exit depth" is the mean under \`cdf:${model.exitThreshold}\`, with which the model ships, and "rank" its rank correlation with difficulty.`,
    table(
      [
        'task',
        'problems',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        ...rivals.map(({ variant }) => variant),
        'exit depth',
        'rank',
      ],
      [
        ...TASK_NAMES.map((task, index) =>
          line(task, rows[index]!, rankCorrelation[task].toFixed(2)),
        ),
        line('mean', total, ''),
      ],
    ),
    `${executedSentence(evaluation)} ${adaptiveSentence(evaluation)}`,
    `The cheapest threshold that keeps 99 % of the full-depth accuracy is ${cheapest.threshold}: ${percent(cheapest.accuracy)} at mean depth ${cheapest.meanDepth.toFixed(2)}, with ${executed(evaluation, { gate: gates[0]!.gate, point: cheapest })} of the loops executed. If every difficulty counts the same instead of every problem (there are few of one move), it is ${equal.cheapest.threshold}: ${percent(equal.cheapest.accuracy)} of ${percent(equal.fullDepth.accuracy)}, at mean depth ${equal.cheapest.meanDepth.toFixed(2)}.`,
  ].join('\n\n');
}

/** What early exit saves with the shipped threshold, under each prefill. */
function executedSentence(evaluation: Evaluation): string {
  const { model, shipped } = evaluation;
  const share = (prefill: PrefillMode, problems: ProblemKind) =>
    executed(evaluation, { gate: model.gate, point: shipped, prefill, problems });
  const [deferred, full] = (['deferred', 'full'] as const).map((prefill) =>
    (['held-out', 'uniform'] as const).map((problems) => share(prefill, problems)),
  );
  return `With \`${policySpec(shipped)}\` answers to held-out problems exit at mean depth ${shipped.meanDepth.toFixed(2)} of ${model.numLoops}, and ${percent(shipped.accuracy)} are right. To the end of the text, prompt included, that executes ${deferred![0]} of the loops of full depth under \`--prefill deferred\` and ${full![0]} under \`--prefill full\` (uniform problems: ${deferred![1]} and ${full![1]}).`;
}

/** What is lost and saved where the prompt's tokens exit too. */
function adaptiveSentence(evaluation: Evaluation): string {
  const { answers, model, shipped } = evaluation;
  const [heldOut, uniform] = (['held-out', 'uniform'] as const).map((problems) => {
    const run = { gate: model.gate, point: shipped, prefill: 'adaptive', problems } as const;
    const accuracy = answers.find((one) => isRun(one, run))?.accuracy ?? NaN;
    return { accuracy: percent(accuracy), executed: executed(evaluation, run) };
  });
  return `Another computation, in which prompt tokens exit too (\`--kv-policy last-exited --prefill adaptive\`), executes ${heldOut!.executed} (uniform: ${uniform!.executed}) and answers ${heldOut!.accuracy} right (uniform: ${uniform!.accuracy}).`;
}

type ProblemKind = Evaluation['answers'][number]['problems'];

interface AnswerRun {
  readonly gate: GateName;
  readonly point: PolicyPoint;
  readonly prefill?: PrefillMode;
  readonly problems?: ProblemKind;
}

/** Loops executed of those of full depth, as the engine counted them; by default held-out problems, deferred. */
function executed(
  { answers }: Evaluation,
  { gate, point, prefill = 'deferred', problems = 'held-out' }: AnswerRun,
): string {
  const run = answers.find((one) => isRun(one, { gate, point, prefill, problems }));
  return run ? percent(run.executedLoops / run.fullDepthLoops) : '';
}

function isRun(answers: Evaluation['answers'][number], run: Required<AnswerRun>): boolean {
  return (
    answers.gate === run.gate &&
    answers.prefill === run.prefill &&
    answers.problems === run.problems &&
    policySpec(answers) === policySpec(run.point)
  );
}

function comparedModels({ models }: Comparison): string {
  return section(
    'Compared models',
    'All three saw the same problems in the same order. FLOPs are those of one token at full depth.',
    table(
      [
        'model',
        'parameters',
        'layers x loops',
        'MFLOP a token',
        'train steps',
        'tokens',
        'accuracy',
      ],
      models.map((model) => [
        model.variant,
        model.parameters.toLocaleString('en'),
        `${model.numHiddenLayers} x ${model.numLoops}`,
        (model.flopsPerToken / 1e6).toFixed(1),
        model.trainSteps.toLocaleString('en'),
        `${(model.tokens / 1e6).toFixed(1)} M`,
        percent(
          mean(
            TASK_NAMES.map((task) =>
              meanOverProblems(
                model.cells.filter((cell) => cell.task === task),
                ({ accuracy }) => accuracy,
              ),
            ),
          ),
        ),
      ]),
    ),
  );
}

function byDifficulty({ model, trained }: Evaluation, rivals: readonly Rival[]): string {
  return section(
    'By difficulty',
    'Accuracy at each depth, and the mean exit depth at the shipped threshold.',
    table(
      [
        'task',
        'moves',
        'n',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        'exit depth',
        ...rivals.map(({ variant }) => variant),
      ],
      trained.map((cell) => [
        cell.task,
        String(cell.difficulty),
        String(cell.n),
        ...depths(model.numLoops).map((depth) => percent(at(cell, depth))),
        cell.meanExitDepth.toFixed(2),
        ...rivals.map(({ accuracy }) => percent(accuracy(cell.task, cell.difficulty))),
      ]),
    ),
  );
}

function policyTable(evaluation: Evaluation): string {
  const { frontiers, model } = evaluation;
  return section(
    'Exit policies',
    `With the shipped gate under \`per-loop\`, exact: the least mean depth that keeps 99 % of the full-depth accuracy, and the loops that the engine then executes for the whole text, prompt included, under \`--prefill deferred\`. \`sampled\` and \`oracle\` (stop at the first right answer; nothing that can be run) have no threshold.`,
    table(
      ['policy', 'threshold', 'mean depth', 'executed loops', 'accuracy'],
      cheapestOfPolicies(frontiers).map((point) => [
        `\`${point.policy}\``,
        String(point.threshold ?? ''),
        point.meanDepth.toFixed(2),
        executed(evaluation, { gate: model.gate, point }),
        percent(point.accuracy),
      ]),
    ),
  );
}

function gateTable(evaluation: Evaluation): string {
  const { gates, model } = evaluation;
  return section(
    'Exit gates',
    `Q-exit with each gate at its cheapest threshold that keeps 99 % of the full-depth accuracy. The model ships with \`${model.gate}\`.`,
    table(
      [
        'gate',
        'threshold',
        'mean depth',
        'executed loops',
        'accuracy',
        'mean depth if drawn',
        'accuracy if drawn',
        ...TASK_NAMES.map((task) => `rank, ${task}`),
      ],
      gates.map(({ gate, cheapest, sampled, rankCorrelation }) => [
        `\`${gate}\``,
        String(cheapest.threshold),
        cheapest.meanDepth.toFixed(2),
        executed(evaluation, { gate, point: cheapest }),
        percent(cheapest.accuracy),
        sampled.meanDepth.toFixed(2),
        percent(sampled.accuracy),
        ...TASK_NAMES.map((task) => rankCorrelation[task].toFixed(2)),
      ]),
    ),
  );
}

function streamTable({ streams, provenance }: Evaluation): string {
  const policies = [...new Set(streams.map(policySpec))];
  const outcome = (policy: string, kvPolicy: KvPolicy): string => {
    const point = streams.find((one) => one.kvPolicy === kvPolicy && policySpec(one) === policy);
    if (!point) return '';
    const computed = (100 * point.executedFraction).toFixed(0);
    return `${percent(point.accuracy)} at ${point.meanDepth.toFixed(2)} (${computed} %)`;
  };
  return section(
    'KV policies',
    `Real runs over ${provenance.streamedPerDifficulty} problems of each difficulty, in which every token of a problem but its first clause exits where the policy says; the first clause runs all loops (\`--prefill full\`). Accuracy at mean depth of the answers, and in brackets the loops executed for all tokens, first clause included, of those of full depth.`,
    table(
      ['policy', ...KV_POLICIES.map((kvPolicy) => `\`${kvPolicy}\``)],
      policies.map((policy) => [
        `\`${policy}\``,
        ...KV_POLICIES.map((kvPolicy) => outcome(policy, kvPolicy)),
      ]),
    ),
  );
}

function moreLoops({ model, trained, longer, uniform }: Evaluation): string {
  const tried = depths(trained[0]!.accuracyByDepth.length).filter(
    (depth) => depth >= model.numLoops,
  );
  const row = (drawn: string, task: string, moves: string, cells: readonly Cell[]) => [
    drawn,
    task,
    moves,
    ...tried.map((depth) => percent(meanOverProblems(cells, (cell) => at(cell, depth)))),
  ];
  return section(
    'Deeper and longer than trained',
    `Accuracy at ${model.numLoops} loops, as trained, and at more; the first rows of each draw are trained lengths.`,
    table(
      ['drawn', 'task', 'moves', ...tried.map((depth) => `${depth} loops`)],
      [
        ...TASK_NAMES.map((task) =>
          row('as in training', task, trainedRange(task), trainedLengths(trained, task)),
        ),
        ...longer.map((cell) => row('as in training', cell.task, String(cell.difficulty), [cell])),
        ...TASK_NAMES.map((task) =>
          row('uniform', task, trainedRange(task), trainedLengths(uniform, task)),
        ),
        ...uniform
          .filter((cell) => !isTrainedLength(cell))
          .map((cell) => row('uniform', cell.task, String(cell.difficulty), [cell])),
      ],
    ),
  );
}

function rivalsOf(comparison: Comparison | undefined): Rival[] {
  return (comparison?.models ?? [])
    .filter(({ variant }) => variant !== 'looped')
    .map(({ variant, cells }) => ({
      variant,
      accuracy: (task, difficulty) =>
        cells.find((cell) => cell.task === task && cell.difficulty === difficulty)!.accuracy,
    }));
}
