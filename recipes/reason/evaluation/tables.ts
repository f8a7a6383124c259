/** Figures as the markdown of a model card. */
import { mean } from 'looplm/eval';
import type { Cell, Evaluation, Rival } from './evaluation-file.js';
import type { Kind } from './sets.js';

const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const ofKind = ({ cells }: Evaluation, kind: Kind, task?: string) =>
  cells.filter((cell) => cell.kind === kind && (task === undefined || cell.task === task));
const tasksOf = ({ cells }: Evaluation) => [...new Set(cells.map(({ task }) => task))];
const at = ({ accuracyByDepth }: Cell, depth: number) => accuracyByDepth[depth - 1]!;
const shareAt = (cells: readonly Cell[], depth: number) =>
  cells.length === 0 ? '' : percent(mean(cells.map((cell) => at(cell, depth))));

/** All tables, one after the other. */
export function cardTables(evaluation: Evaluation, rivals: readonly Rival[]): string {
  return [
    summary(evaluation, rivals),
    byDifficulty(evaluation, rivals),
    unseen(evaluation),
    exits(evaluation),
    moreLoops(evaluation),
  ].join('\n\n');
}

/** Whole replies and answers by depth, a row for each task. */
function summary(evaluation: Evaluation, rivals: readonly Rival[]): string {
  const { numLoops, replies, exits: found } = evaluation;
  const depths = Array.from({ length: numLoops }, (_, index) => index + 1);
  const whole = (task: string) =>
    percent(
      mean(replies[0]!.cells.filter((cell) => cell.task === task).map(({ accuracy }) => accuracy)),
    );
  return `### By task

Questions as somebody types them: every trained difficulty alike, phrasings mixed, nothing filtered. "Reply" is the whole sentence, greedy, at full depth; the depths are its answer alone, the beginning of the sentence given. "Rank" is the rank correlation of exit depth with difficulty.

${table(
  [
    'task',
    'reply',
    ...depths.map((depth) => `depth ${depth}`),
    'rank',
    ...rivals.map(({ name }) => name),
  ],
  tasksOf(evaluation).map((task) => [
    task,
    whole(task),
    ...depths.map((depth) => shareAt(ofKind(evaluation, 'uniform', task), depth)),
    found.rankCorrelation[task]?.toFixed(2) ?? '',
    ...rivals.map((rival) =>
      shareAt(ofKind(rival.evaluation, 'uniform', task), rival.evaluation.numLoops),
    ),
  ]),
)}`;
}

function byDifficulty(evaluation: Evaluation, rivals: readonly Rival[]): string {
  const { numLoops } = evaluation;
  const depths = Array.from({ length: numLoops }, (_, index) => index + 1);
  return `### By difficulty

${table(
  [
    'task',
    'difficulty',
    'n',
    ...depths.map((depth) => `depth ${depth}`),
    'exit depth',
    ...rivals.map(({ name }) => name),
  ],
  ofKind(evaluation, 'uniform').map((cell) => [
    cell.task,
    String(cell.difficulty),
    String(cell.n),
    ...depths.map((depth) => percent(at(cell, depth))),
    cell.meanExitDepth.toFixed(2),
    ...rivals.map(({ evaluation: other }) => {
      const same = ofKind(other, 'uniform', cell.task).find(
        ({ difficulty }) => difficulty === cell.difficulty,
      );
      return same ? percent(at(same, other.numLoops)) : '';
    }),
  ]),
)}`;
}

/** What training never showed: wordings, problems, countries that begin a chain. */
function unseen(evaluation: Evaluation): string {
  const kinds = ['uniform', 'held-out wording', 'held-out problem', 'held-out start'] as const;
  return `### Never trained

At full depth: all questions, those in wordings that training never used, problems that it held out, and chains that begin with a country with which no trained chain begins.

${table(
  ['task', ...kinds],
  tasksOf(evaluation).map((task) => [
    task,
    ...kinds.map((kind) => shareAt(ofKind(evaluation, kind, task), evaluation.numLoops)),
  ]),
)}`;
}

function exits({ exits: found, replies, numLoops }: Evaluation): string {
  const rows = (['gate', 'confidence'] as const).map((name) => {
    const { full, cheapest } = found[name];
    return [
      name,
      String(cheapest.threshold),
      cheapest.meanDepth.toFixed(2),
      percent(cheapest.accuracy),
      percent(full.accuracy),
    ];
  });
  const executed = replies.map(
    ({ policy, prefill, executedLoops, fullDepthLoops, cells }) =>
      `\`${policy}\` with \`--prefill ${prefill}\`: ${percent(mean(cells.map(({ accuracy }) => accuracy)))} of the replies right, ${percent(executedLoops / fullDepthLoops)} of the loops run, prompt included.`,
  );
  return `### Early exit

The cheapest threshold that keeps 99 % of the accuracy of all ${numLoops} loops, of the gate and of a rule without one: stop when the readout is sure enough.

${table(['decided by', 'threshold', 'mean depth', 'accuracy', 'at full depth'], rows)}

${executed.join('\n')}`;
}

function moreLoops(evaluation: Evaluation): string {
  const { numLoops, cells } = evaluation;
  const tried = cells[0]!.accuracyByDepth.map((_, index) => index + 1).slice(numLoops - 1);
  return `### Longer than trained

${table(
  ['task', 'difficulty', ...tried.map((depth) => `${depth} loops`)],
  ofKind(evaluation, 'longer').map((cell) => [
    cell.task,
    String(cell.difficulty),
    ...tried.map((depth) => percent(at(cell, depth))),
  ]),
)}`;
}
