/**
 * What stands beside the shipped model as markdown: models that are built otherwise, and the same
 * recipe with other seeds.
 */
import { mean } from 'looplm/eval';
import { SEED } from '../configs.js';
import { TASK_NAMES } from '../tasks/index.js';
import type { Comparison } from './figures.js';
import { comparedCells } from './figures.js';
import { meanOverQuestions, percent, section, table } from './markdown.js';
import type { Kind } from './question-sets.js';

/** A model that the shipped one is compared with. */
export type Rival = Comparison['models'][number];

/** Models that are built otherwise and were shown the problems of the shipped one. */
export function rivalsOf(comparison: Comparison | undefined): readonly Rival[] {
  return (comparison?.models ?? []).filter(
    ({ variant, seed }) => variant !== 'looped' && seed === SEED,
  );
}

/** Accuracy of a compared model on a task, or on one difficulty of it; nothing where it was not asked. */
export function rivalShare(rival: Rival, kind: Kind, task: string, difficulty?: number): string {
  const accuracy = accuracyOf(rival, kind, task, difficulty);
  return accuracy === undefined ? '' : percent(accuracy);
}

/** Accuracy on the questions of a kind, each task that has them as much as another. */
export function accuracyOverTasks(rival: Rival, kind: Kind = 'uniform'): number {
  return mean(TASK_NAMES.flatMap((task) => accuracyOf(rival, kind, task) ?? []));
}

function accuracyOf(
  rival: Rival,
  kind: Kind,
  task: string,
  difficulty?: number,
): number | undefined {
  const asked = comparedCells(rival, { kind, task, difficulty });
  return asked.length === 0 ? undefined : meanOverQuestions(asked, ({ accuracy }) => accuracy);
}

/** Accuracies over several tasks, by what they are of. */
const MEANS: readonly (readonly [string, (model: Rival) => number])[] = [
  ['mean over tasks', (model) => accuracyOverTasks(model)],
  ['wordings never trained', (model) => accuracyOverTasks(model, 'held-out-wording')],
  ['held-out starts', (model) => accuracyOverTasks(model, 'held-out-start')],
];

/**
 * The recipe with several seeds, the shipped one first; nothing where there is one. Below it the twins of
 * these seeds, where each has one.
 */
export function seedTable({ models }: Comparison): string {
  const seeds = seedsOf(models);
  if (seeds.length < 2) return '';
  const twins = seeds.flatMap(
    ({ seed }) => models.find((model) => model.variant === 'twin' && model.seed === seed) ?? [],
  );
  const hasTwins = twins.length === seeds.length;
  const row = (name: string, values: readonly number[]) => [
    name,
    ...[...values, mean(values)].map(percent),
  ];
  return section(
    'Seeds',
    `The same recipe with other seeds: other first weights and other problems in training, the same questions. Accuracy at full depth.${hasTwins ? ' A twin was shown the problems of its seed.' : ''}`,
    table(
      ['', ...seeds.map(({ seed }) => `seed ${seed}${seed === SEED ? ' (shipped)' : ''}`), 'mean'],
      [
        ...TASK_NAMES.map((task) =>
          row(
            task,
            seeds.map((model) => accuracyOf(model, 'uniform', task)!),
          ),
        ),
        ...MEANS.map(([name, valueOf]) => row(name, seeds.map(valueOf))),
        ...(hasTwins
          ? MEANS.map(([name, valueOf]) => row(`twin, ${name}`, twins.map(valueOf)))
          : []),
      ],
    ),
  );
}

/** The same in a sentence. */
export function seedSentence({ models }: Comparison): readonly string[] {
  const [shipped, ...others] = seedsOf(models);
  if (!shipped || others.length === 0) return [];
  const means = others.map((model) => percent(accuracyOverTasks(model)));
  return [
    `The mean over tasks is ${percent(accuracyOverTasks(shipped))}, and ${new Intl.ListFormat('en').format(means)} with other seeds.`,
  ];
}

function seedsOf(models: readonly Rival[]): readonly Rival[] {
  const looped = models.filter(({ variant }) => variant === 'looped');
  return looped.toSorted((a, b) => Number(b.seed === SEED) - Number(a.seed === SEED));
}

/** All models that were measured. */
export function comparedModels({ models }: Comparison): string {
  return section(
    'Compared models',
    'Those of one seed were shown the same problems. FLOPs are those of one token at full depth; accuracies are those of questions as somebody types them, at full depth, the mean over tasks and that of each.',
    table(
      [
        'model',
        'seed',
        'parameters',
        'layers x loops',
        'MFLOP a token',
        'train steps',
        'tokens',
        'mean',
        ...TASK_NAMES,
      ],
      models.map((model) => [
        model.variant,
        String(model.seed),
        model.parameters.toLocaleString('en'),
        `${model.numHiddenLayers} x ${model.numLoops}`,
        (model.flopsPerToken / 1e6).toFixed(1),
        model.trainSteps.toLocaleString('en'),
        `${(model.tokens / 1e6).toFixed(1)} M`,
        percent(accuracyOverTasks(model)),
        ...TASK_NAMES.map((task) => rivalShare(model, 'uniform', task)),
      ]),
    ),
  );
}
