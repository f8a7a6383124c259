/**
 * The figures of the bundled model as markdown: the tables of its model card and of the README.
 */
import type { FrontierPoint } from 'looplm/eval';
import { cheapestPoint, mean, POLICY_FAMILIES } from 'looplm/eval';
import type { Cell, Comparison, Evaluation } from './figures.js';
import { fullDepthAccuracy, KEPT_ACCURACY } from './measure.js';
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

function summary({ model, trained, rankCorrelation, gates }: Evaluation, rivals: readonly Rival[]) {
  const { numLoops, exitThreshold } = model;
  const rows = TASK_NAMES.map((task) => {
    const cells = trained.filter((cell) => cell.task === task);
    return {
      task,
      numProblems: cells.reduce((sum, { n }) => sum + n, 0),
      byDepth: depths(numLoops).map((depth) => mean(cells.map((cell) => at(cell, depth)))),
      exitDepth: mean(cells.map(({ meanExitDepth }) => meanExitDepth)),
      rivals: rivals.map(({ accuracy }) =>
        mean(cells.map((cell) => accuracy(task, cell.difficulty))),
      ),
    };
  });
  const all = {
    byDepth: depths(numLoops).map((depth) => mean(rows.map(({ byDepth }) => byDepth[depth - 1]!))),
    rivals: rivals.map((_, index) => mean(rows.map((row) => row.rivals[index]!))),
  };
  const shipped = gates[0]!;
  const point = shipped.points.find(({ threshold }) => threshold === exitThreshold);
  const lines = [
    `Held-out problems of trained lengths; accuracy is the mean over difficulties. Exit depth is the mean under \`cdf:${exitThreshold}\`, the threshold that the model ships with, and "rank" its rank correlation with difficulty (Spearman).`,
    table(
      [
        'task',
        'problems',
        ...depths(numLoops).map((depth) => `depth ${depth}`),
        'exit depth',
        'rank',
        ...rivals.map(({ variant }) => variant),
      ],
      [
        ...rows.map((row) => [
          row.task,
          String(row.numProblems),
          ...row.byDepth.map(percent),
          row.exitDepth.toFixed(2),
          rankCorrelation[row.task].toFixed(2),
          ...row.rivals.map(percent),
        ]),
        [
          'mean',
          String(rows.reduce((sum, { numProblems }) => sum + numProblems, 0)),
          ...all.byDepth.map(percent),
          mean(rows.map(({ exitDepth }) => exitDepth)).toFixed(2),
          '',
          ...all.rivals.map(percent),
        ],
      ],
    ),
    ...(point
      ? [
          `At that threshold the accuracy is ${percent(point.accuracy)} with ${share(point.meanDepth, numLoops)} of the loops.`,
        ]
      : []),
    ...(shipped.cheapest
      ? [
          `The cheapest threshold that keeps 99 % of the full-depth accuracy is ${shipped.cheapest.threshold}: ${percent(shipped.cheapest.accuracy)} at a mean depth of ${shipped.cheapest.meanDepth.toFixed(2)}, ${share(shipped.cheapest.meanDepth, numLoops)} of the loops.`,
        ]
      : []),
  ];
  return lines.join('\n\n');
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
              mean(
                model.cells.filter((cell) => cell.task === task).map(({ accuracy }) => accuracy),
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
  const least = KEPT_ACCURACY * fullDepthAccuracy(gates[0]!.points);
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
        ...(cheapest
          ? [
              String(cheapest.threshold),
              cheapest.meanDepth.toFixed(2),
              share(cheapest.meanDepth, model.numLoops),
              percent(cheapest.accuracy),
            ]
          : ['none', '', '', '']),
        sampled.meanDepth.toFixed(2),
        percent(sampled.accuracy),
        ...TASK_NAMES.map((task) => rankCorrelation[task].toFixed(2)),
      ]),
    ),
  );
}

function streamTable({ streams, provenance }: Evaluation): string {
  return section(
    'KV policies',
    `Real runs over ${provenance.streamedPerDifficulty} problems of each difficulty, in which every token of a problem but its first clause exits where the policy says. Depth and accuracy are those of the answers; "computed" counts loops of all tokens.`,
    table(
      ['policy', 'KV policy', 'mean depth', 'accuracy', 'computed'],
      streams.map((point) => [
        `\`${label(point)}\``,
        `\`${point.kvPolicy}\``,
        point.meanDepth.toFixed(2),
        percent(point.accuracy),
        percent(point.executedFraction),
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
    ...tried.map((depth) => percent(mean(cells.map((cell) => at(cell, depth))))),
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

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function depths(numLoops: number): number[] {
  return Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1);
}

function at({ accuracyByDepth }: Cell, depth: number): number {
  return accuracyByDepth[depth - 1]!;
}

function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)} %`;
}

function share(meanDepth: number, numLoops: number): string {
  return percent(meanDepth / numLoops);
}

function label({ policy, threshold }: Pick<FrontierPoint, 'policy' | 'threshold'>): string {
  return threshold === undefined ? policy : `${policy}:${threshold}`;
}
