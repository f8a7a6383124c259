/**
 * The pictures of the bundled model, from its figures.
 */
import type { DifficultySeries, FrontierSeries } from 'looplm/charts';
import {
  accuracyByDepthChart,
  accuracyByModelChart,
  exitDepthByDifficulty,
  exitDepthHeatmap,
  frontierChart,
  lineChart,
  lossCurves,
} from 'looplm/charts';
import { POLICY_FAMILIES, mean } from 'looplm/eval';
import type { EvaluationRecord, RunRecord } from 'looplm/train';
import type { Comparison, Evaluation } from './figures.js';
import { comparedCells } from './figures.js';
import { VARIANTS } from '../configs.js';
import { trainedDifficulties, uniformName } from '../curriculum.js';
import { TASKS, TASK_NAMES } from '../tasks/index.js';

/** Tasks that have several difficulties. */
const GRADED = TASKS.filter((task) => trainedDifficulties(task).length > 1).map(({ name }) => name);

/** SVG texts by file name. */
export function bundledCharts(evaluation: Evaluation): Readonly<Record<string, string>> {
  const { model, trained, frontiers, gates } = evaluation;
  const byTask = <Value>(
    valueOf: (cell: Evaluation['trained'][number]) => Value,
  ): DifficultySeries<Value>[] =>
    GRADED.map((name) => ({
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

/** The models that were compared, as SVG texts by file name: a line for each kind, the mean of its seeds. */
export function comparedCharts({ models }: Comparison): Readonly<Record<string, string>> {
  const kinds = VARIANTS.map((variant) =>
    models.filter((model) => model.variant === variant),
  ).filter((seeds) => seeds.length > 0);
  const names = kinds.map((seeds) =>
    seeds.length > 1 ? `${seeds[0]!.variant}, mean of ${seeds.length} seeds` : seeds[0]!.variant,
  );
  const byTask = TASKS.filter(({ name }) => GRADED.includes(name)).map((task) => ({
    name: task.name,
    points: trainedDifficulties(task).map((difficulty) => ({
      difficulty,
      value: kinds.map((seeds) =>
        mean(
          seeds.flatMap((model) =>
            comparedCells(model, { kind: 'uniform', task: task.name, difficulty }).map(
              ({ accuracy }) => accuracy,
            ),
          ),
        ),
      ),
    })),
  }));
  return { 'compared-models.svg': accuracyByModelChart(names, byTask) };
}

/** How the run went, as SVG texts by file name. */
export function trainingCharts(records: readonly RunRecord[]): Readonly<Record<string, string>> {
  return {
    'training.svg': lossCurves(records.filter((record) => 'lossPerLoop' in record)),
    'learning.svg': learningCurves(records.filter((record) => 'evaluation' in record)),
  };
}

/** Accuracy of each task on questions of every difficulty. */
function learningCurves(records: readonly EvaluationRecord[]): string {
  const measured = records.filter(({ evaluation }) =>
    TASK_NAMES.some((task) => uniformName(task) in evaluation),
  );
  return lineChart({
    title: 'What is learnt when: accuracy at full depth on all difficulties',
    hasMarkers: false,
    panels: [
      {
        x: { name: 'train step', min: 0, max: measured.at(-1)!.trainStep },
        y: { name: 'accuracy', min: 0, max: 1 },
        lines: TASK_NAMES.map((name) => ({
          name,
          points: measured.flatMap(({ trainStep, evaluation }) => {
            const byDepth = evaluation[uniformName(name)] as readonly number[] | undefined;
            return byDepth ? [[trainStep, byDepth.at(-1)!] as const] : [];
          }),
        })),
      },
    ],
  });
}
