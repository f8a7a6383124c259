/**
 * The pictures of the bundled model, from its figures.
 */
import type { DifficultySeries, FrontierSeries } from 'looplm/charts';
import {
  accuracyByDepthChart,
  exitDepthByDifficulty,
  exitDepthHeatmap,
  frontierChart,
} from 'looplm/charts';
import { POLICY_FAMILIES } from 'looplm/eval';
import type { Evaluation } from './figures.js';
import { TASK_NAMES } from './problem-sets.js';

/** SVG texts by file name. */
export function bundledCharts(evaluation: Evaluation): Readonly<Record<string, string>> {
  const { model, trained, frontiers, gates } = evaluation;
  const byTask = <Value>(
    valueOf: (cell: Evaluation['trained'][number]) => Value,
  ): DifficultySeries<Value>[] =>
    TASK_NAMES.map((name) => ({
      name,
      points: trained
        .filter(({ task }) => task === name)
        .map((cell) => ({ difficulty: cell.difficulty, value: valueOf(cell) })),
    }));
  const policies: FrontierSeries[] = POLICY_FAMILIES.map((name) => ({
    name,
    points: frontiers.filter(({ policy }) => policy === name),
  }));
  return {
    'exit-depth.svg': exitDepthByDifficulty(
      byTask(({ meanExitDepth }) => meanExitDepth),
      model.numLoops,
    ),
    'accuracy-by-depth.svg': accuracyByDepthChart(
      byTask(({ accuracyByDepth }) => accuracyByDepth.slice(0, model.numLoops)),
    ),
    'exit-shares.svg': exitDepthHeatmap(byTask(({ exitShares }) => exitShares)),
    'frontier-policies.svg': frontierChart(
      'Accuracy against mean depth: exit policies',
      policies,
      model.numLoops,
    ),
    'frontier-gates.svg': frontierChart(
      'Accuracy against mean depth: exit gates',
      [
        { name: 'every token at one depth', points: policies[0]!.points },
        ...gates.map(({ gate, points }) => ({ name: gate, points })),
      ],
      model.numLoops,
    ),
  };
}
