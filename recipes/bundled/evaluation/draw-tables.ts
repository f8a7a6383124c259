/**
 * What the draw of the problems does to the figures: held-out problems drawn as in training against
 * uniform ones, as somebody types them.
 */
import type { Cell, Evaluation } from './figures.js';
import type { Tally } from './markdown.js';
import {
  addTallies,
  at,
  depths,
  intervalText,
  percent,
  section,
  shareWithInterval,
  subtract,
  table,
  tallyAt,
  trainedLengths,
} from './markdown.js';
import { isTrainedLength, TASK_NAMES } from './problem-sets.js';
import { TASKS } from '../tasks.js';

/** Where the accuracy comes from: how problems are drawn, and whether training has seen how they begin. */
export function twoDraws({ model, trained, unseenStarts, uniform }: Evaluation): string {
  const { numLoops } = model;
  const rows = TASK_NAMES.flatMap((task) => {
    const cells = trainedLengths(uniform, task);
    const seen = addTallies(cells.map(({ trainedStart }) => trainedStart));
    const all = tallyAt(cells, numLoops);
    const ofTask = (others: readonly Cell[]) =>
      tallyAt(
        others.filter((cell) => cell.task === task),
        numLoops,
      );
    const line = (draw: string, parts: readonly Tally[]) => [
      task,
      draw,
      ...parts.map(shareWithInterval),
    ];
    return [
      line('held out, as in training', [ofTask(trained), ofTask(unseenStarts)]).concat(''),
      line('uniform', [seen, subtract(all, seen), all]),
    ];
  });
  return section(
    'Two draws of the same language',
    [
      'Right answers at full depth on trained lengths, with 95 % intervals. Training draws swaps so that three in four move the ball, and even factors rarely; so do the held-out problems above. Whoever types a problem chooses among all of them: two swaps in five move the ball, and every operation is as likely. These *uniform* problems are filtered by nothing, so that training may have shown the short ones, and one beginning in eight is held out.',
      '"Beginning seen" are problems of which no beginning is held out: training may have shown how they begin. The others begin with something that it never showed.',
    ].join('\n\n'),
    `${table(['task', 'drawn', 'beginning seen', 'beginning not seen', 'all'], rows)}\n\n${weakestSentence(uniform, numLoops)} ${firstMoveSentence(uniform, numLoops)}`,
  );
}

/** Which trained length of uniform problems is answered worst. */
export function weakestSentence(uniform: Evaluation['uniform'], numLoops: number): string {
  const [weakest] = uniform
    .filter(isTrainedLength)
    .toSorted((one, other) => at(one, numLoops) - at(other, numLoops));
  const { task, difficulty } = weakest!;
  return `Of the trained lengths, uniform problems of ${difficulty} moves of ${task} are answered worst: ${shareWithInterval(tallyAt([weakest!], numLoops))}.`;
}

/** How many problems of two moves are right whose first one training never showed. */
function firstMoveSentence(uniform: Evaluation['uniform'], numLoops: number): string {
  const parts = uniform
    .filter(({ difficulty }) => difficulty === 2)
    .map((cell) => {
      const { n, correct } = subtract(tallyAt([cell], numLoops), cell.trainedStart);
      return `${correct} of ${n} (${cell.task})`;
    });
  return `Of those of two moves whose first one training never showed, ${parts.join(' and ')} are answered right.`;
}

/** The uniform problems length by length. */
export function uniformTable({ model, uniform, provenance }: Evaluation): string {
  return section(
    'Uniform problems by difficulty',
    `Every problem of a length is equally likely, ${provenance.uniformPerDifficulty} are drawn of each, and all are taken where there are fewer (no interval then). Lengths above ${TASK_NAMES.map((task) => `${TASKS[task].maxTrainedDifficulty} (${task})`).join(' and ')} were never trained. The last columns are under the shipped threshold.`,
    table(
      [
        'task',
        'moves',
        'n',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        '95 % interval',
        'at exit',
        'exit depth',
      ],
      uniform.map((cell) => [
        cell.task,
        String(cell.difficulty),
        String(cell.n),
        ...depths(model.numLoops).map((depth) => percent(at(cell, depth))),
        cell.isComplete ? 'all' : intervalText(tallyAt([cell], model.numLoops)),
        percent(cell.exit.accuracy),
        cell.exit.meanDepth.toFixed(2),
      ]),
    ),
  );
}
