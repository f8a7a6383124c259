/**
 * What a model gets right while it trains: the answers of fresh problems of each task, read at every
 * depth, their beginnings given.
 */
import { generatorFor } from 'looplm/data';
import type { EngineOptions } from 'looplm/engine';
import { Engine } from 'looplm/engine';
import { depthFigures } from 'looplm/eval';
import type { Evaluation } from 'looplm/train';
import type { OpenLessons } from './curriculum.js';
import { drawAt, newestName, uniformName } from './curriculum.js';
import type { Scribe } from './documents.js';
import { drawWriting } from './documents.js';
import type { Problem, TaskDefinition } from './problem.js';

/** Problems of a task that are looked at, each time. */
const NUM_PROBLEMS = 32;

export interface MeasureOptions {
  readonly tasks: readonly TaskDefinition[];
  readonly scribe: Scribe;
  readonly open: OpenLessons;
  /** Whether problems of every trained difficulty are looked at, too. */
  readonly hasUniform: boolean;
  /** Equal seeds draw equal problems. */
  readonly seed: number;
}

/**
 * Accuracy at full depth on the hardest problems of the newest open lesson of each task, and if wanted
 * at depth 1 to R on problems of every trained difficulty, as somebody types them.
 */
export async function measure(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  { tasks, scribe, open, hasUniform, seed }: MeasureOptions,
): Promise<Evaluation> {
  const begun = tasks.filter(({ name }) => open[name]! > 0);
  const documents = (draw: (rng: ReturnType<typeof generatorFor>) => Problem, part: number) =>
    Array.from({ length: NUM_PROBLEMS }, (_, index) => {
      const rng = generatorFor(seed, part, index);
      const problem = draw(rng);
      return scribe.document(problem, drawWriting(rng, problem), 'answers');
    });
  const newest = begun.map((task, index) =>
    documents((rng) => drawAt(rng, task, task.lessons[open[task.name]! - 1]!), 2 * index),
  );
  const uniform = (hasUniform ? begun : []).map((task, index) =>
    documents((rng) => task.draw(rng, task.lessons.at(-1)!, 'trained'), 2 * index + 1),
  );
  const engine = await Engine.create(model);
  try {
    const figures = await depthFigures(engine, [...newest, ...uniform], { exitThreshold: 1 });
    const accuracy = (index: number) => figures[index]!.accuracyByDepth;
    const entries: (readonly [string, number | readonly number[]])[] = begun.map(
      ({ name }, index) => [newestName(name), accuracy(index).at(-1)!],
    );
    uniform.forEach((_, index) =>
      entries.push([uniformName(begun[index]!.name), accuracy(begun.length + index)]),
    );
    return Object.fromEntries(entries) as Evaluation;
  } finally {
    await engine.dispose();
  }
}
