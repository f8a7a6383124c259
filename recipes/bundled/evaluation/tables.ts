/**
 * The figures of the bundled model as markdown: the tables of its model card and of the README.
 */
import type { KvPolicy } from 'looplm/engine';
import { KV_POLICIES } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { cheapestPoint, mean, meanRows, POLICY_FAMILIES } from 'looplm/eval';
import type { Cell, Comparison, Evaluation } from './figures.js';
import { keptAccuracy } from './measure.js';
import type { TaskName } from './problem-sets.js';
import { TASK_NAMES } from './problem-sets.js';

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
    comparison ? comparedModels(comparison) : '',
    byDifficulty(evaluation, rivals),
    unseenStartTable(evaluation),
    policyTable(evaluation),
    gateTable(evaluation),
    streamTable(evaluation),
    moreLoops(evaluation),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** The short table of the README. */
export function readmeTables(evaluation: Evaluation, comparison?: Comparison): string {
  return summary(evaluation, rivalsOf(comparison));
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
    `Accuracy on held-out problems of trained lengths; the last row is the mean over tasks. "Exit depth" is the mean under \`cdf:${model.exitThreshold}\`, with which the model ships, and "rank" its rank correlation with difficulty.`,
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
    `With that threshold the accuracy is ${percent(shipped.accuracy)} and the mean depth ${shipped.meanDepth.toFixed(2)}, ${share(shipped.meanDepth, model.numLoops)} of the loops.`,
    `The cheapest threshold that keeps 99 % of the full-depth accuracy is ${cheapest.threshold}: ${percent(cheapest.accuracy)} with ${share(cheapest.meanDepth, model.numLoops)} of the loops. If every difficulty counts the same instead of every problem (there are few of one move), it is ${equal.cheapest.threshold}: ${percent(equal.cheapest.accuracy)} of ${percent(equal.fullDepth.accuracy)}, with ${share(equal.cheapest.meanDepth, model.numLoops)} of the loops.`,
  ].join('\n\n');
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

function policyTable({ frontiers, gates, model }: Evaluation): string {
  const least = keptAccuracy(gates[0]!.points);
  const rows = POLICY_FAMILIES.map((family) => {
    const points = frontiers.filter(({ policy }) => policy === family);
    const hasChoice = points.some(({ threshold }) => threshold !== undefined);
    return hasChoice ? cheapestPoint(points, least) : points[0];
  }).filter((point) => point !== undefined);
  return section(
    'Exit policies',
    `With the shipped gate under \`per-loop\`, exact: the least mean depth that keeps 99 % of the full-depth accuracy. \`sampled\` and \`oracle\` (stop at the first right answer) have no threshold.`,
    table(
      ['policy', 'threshold', 'mean depth', 'of the loops', 'accuracy'],
      rows.map((point) => [
        `\`${point.policy}\``,
        String(point.threshold ?? ''),
        point.meanDepth.toFixed(2),
        share(point.meanDepth, model.numLoops),
        percent(point.accuracy),
      ]),
    ),
  );
}

function gateTable({ gates, model }: Evaluation): string {
  return section(
    'Exit gates',
    `Q-exit with each gate at its cheapest threshold that keeps 99 % of the full-depth accuracy. The model ships with \`${model.gate}\`.`,
    table(
      [
        'gate',
        'threshold',
        'mean depth',
        'of the loops',
        'accuracy',
        'mean depth if drawn',
        'accuracy if drawn',
        ...TASK_NAMES.map((task) => `rank, ${task}`),
      ],
      gates.map(({ gate, cheapest, sampled, rankCorrelation }) => [
        `\`${gate}\``,
        String(cheapest.threshold),
        cheapest.meanDepth.toFixed(2),
        share(cheapest.meanDepth, model.numLoops),
        percent(cheapest.accuracy),
        sampled.meanDepth.toFixed(2),
        percent(sampled.accuracy),
        ...TASK_NAMES.map((task) => rankCorrelation[task].toFixed(2)),
      ]),
    ),
  );
}

function streamTable({ streams, provenance }: Evaluation): string {
  const policies = [...new Set(streams.map(label))];
  const outcome = (policy: string, kvPolicy: KvPolicy): string => {
    const point = streams.find((one) => one.kvPolicy === kvPolicy && label(one) === policy);
    if (!point) return '';
    const computed = (100 * point.executedFraction).toFixed(0);
    return `${percent(point.accuracy)} at ${point.meanDepth.toFixed(2)} (${computed} %)`;
  };
  return section(
    'KV policies',
    `Real runs over ${provenance.streamedPerDifficulty} problems of each difficulty, in which every token of a problem but its first clause exits where the policy says. Accuracy at mean depth of the answers, and in brackets the loops computed for all tokens, of those of full depth.`,
    table(
      ['policy', ...KV_POLICIES.map((kvPolicy) => `\`${kvPolicy}\``)],
      policies.map((policy) => [
        `\`${policy}\``,
        ...KV_POLICIES.map((kvPolicy) => outcome(policy, kvPolicy)),
      ]),
    ),
  );
}

function moreLoops({ model, trained, longer }: Evaluation): string {
  const tried = depths(trained[0]!.accuracyByDepth.length).filter(
    (depth) => depth >= model.numLoops,
  );
  const row = (task: string, moves: string, cells: readonly Cell[]) => [
    task,
    moves,
    ...tried.map((depth) => percent(meanOverProblems(cells, (cell) => at(cell, depth)))),
  ];
  return section(
    'Deeper and longer than trained',
    `Accuracy at ${model.numLoops} loops, as trained, and at more; the first rows are trained lengths.`,
    table(
      ['task', 'moves', ...tried.map((depth) => `${depth} loops`)],
      [
        ...TASK_NAMES.map((task) => {
          const cells = trained.filter((cell) => cell.task === task);
          return row(task, `1 to ${cells.at(-1)!.difficulty}`, cells);
        }),
        ...longer.map((cell) => row(cell.task, String(cell.difficulty), [cell])),
      ],
    ),
  );
}

function unseenStartTable({ model, unseenStarts }: Evaluation): string {
  return section(
    'Beginnings never seen',
    'The problems above begin with moves that training may contain. These begin with a problem that is held out as well, so that training never showed their beginning: what one first move does to one opening must be worked out from other pairs.',
    table(
      ['task', 'problems', ...depths(model.numLoops).map((depth) => `depth ${depth}`)],
      TASK_NAMES.map((task) => {
        const cells = unseenStarts.filter((cell) => cell.task === task);
        return [
          task,
          String(cells.reduce((sum, { n }) => sum + n, 0)),
          ...depths(model.numLoops).map((depth) =>
            percent(meanOverProblems(cells, (cell) => at(cell, depth))),
          ),
        ];
      }),
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

function section(title: string, text: string, body: string): string {
  return `### ${title}\n\n${text}\n\n${body}`;
}

/** A table in markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function depths(numLoops: number): number[] {
  return Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1);
}

function at({ accuracyByDepth }: Cell, depth: number): number {
  return accuracyByDepth[depth - 1]!;
}

/** Mean of a figure of difficulties, each as often as it has problems. */
function meanOverProblems<One extends { readonly n: number }>(
  cells: readonly One[],
  valueOf: (cell: One) => number,
): number {
  const total = cells.reduce((sum, { n }) => sum + n, 0);
  return cells.reduce((sum, cell) => sum + cell.n * valueOf(cell), 0) / total;
}

/** A fraction as percent with one decimal. */
export function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}

function share(meanDepth: number, numLoops: number): string {
  return percent(meanDepth / numLoops);
}

function label({ policy, threshold }: Pick<FrontierPoint, 'policy' | 'threshold'>): string {
  return threshold === undefined ? policy : `${policy}:${threshold}`;
}
