/**
 * A curriculum under way: it draws the documents of each train step, and measures what has been learnt.
 *
 * Its state is the list of its measurements, which the run's metrics keep; `Course.open` reads them.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { TrainingDocument } from 'looplm/data';
import type { EngineOptions } from 'looplm/engine';
import type { Folder } from 'looplm/model';
import type { Evaluation, EvaluationRecord } from 'looplm/train';
import { METRICS_FILE, parseMetrics } from 'looplm/train';
import type { CurriculumOptions, Syllabus } from './curriculum.js';
import { drawForTraining, newestName, syllabusAt, uniformName } from './curriculum.js';
import type { Scribe } from './documents.js';
import { drawWriting } from './documents.js';
import { measure } from './measure.js';
import type { TaskDefinition } from './problem.js';

/** How problems become documents. */
export interface DrawOptions {
  readonly tasks: readonly TaskDefinition[];
  readonly scribe: Scribe;
  /** Tokens of a document at most; longer problems are drawn again. */
  readonly maxLength: number;
}

/** Draws a document for training, with running answers. */
export function drawDocument(
  rng: RandomGenerator,
  { tasks, scribe, maxLength }: DrawOptions,
  syllabus: Syllabus,
): TrainingDocument {
  for (;;) {
    const problem = drawForTraining(rng, tasks, syllabus);
    const document = scribe.document(problem, drawWriting(rng, problem), 'all');
    if (document.ids.length <= maxLength) return document;
  }
}

export interface CourseOptions extends CurriculumOptions, DrawOptions {
  /** Train steps between looks at problems of every difficulty. */
  readonly uniformEvery: number;
}

export class Course {
  readonly #options: CourseOptions;
  readonly #records: Map<number, EvaluationRecord>;
  readonly #isFollowing: boolean;
  #current: (Syllabus & { readonly trainStep: number }) | undefined;

  private constructor(
    options: CourseOptions,
    records: readonly EvaluationRecord[],
    isFollowing: boolean,
  ) {
    this.#options = options;
    this.#isFollowing = isFollowing;
    this.#records = new Map(records.map((record) => [record.trainStep, record]));
  }

  /** Goes on with the run of a folder, or begins. Measurements that will come again come out the same. */
  static async open(folder: Folder, options: CourseOptions): Promise<Course> {
    return new Course(options, await measurementsOf(folder), false);
  }

  /** Shows what the run of a folder was shown, to a model that is compared with it. */
  static async follow(folder: Folder, options: CourseOptions): Promise<Course> {
    return new Course(options, await measurementsOf(folder), true);
  }

  syllabusAt(trainStep: number): Syllabus {
    if (this.#current?.trainStep !== trainStep) {
      const records = [...this.#records.values()].toSorted((a, b) => a.trainStep - b.trainStep);
      this.#current = { trainStep, ...syllabusAt(this.#options, records, trainStep) };
    }
    return this.#current;
  }

  /** For `generatedSource`. */
  document(rng: RandomGenerator, trainStep: number): TrainingDocument {
    return drawDocument(rng, this.#options, this.syllabusAt(trainStep));
  }

  /** For `train`: measures, and remembers what came out. */
  async evaluate(
    model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
    trainStep: number,
  ): Promise<Evaluation> {
    const { tasks, scribe, uniformEvery } = this.#options;
    const { open } = this.syllabusAt(trainStep);
    const hasUniform = trainStep % uniformEvery === 0;
    const evaluation = await measure(model, { tasks, scribe, open, hasUniform, seed: trainStep });
    if (!this.#isFollowing) this.#records.set(trainStep, { trainStep, evaluation });
    return evaluation;
  }

  /** A measurement as a line: of each task its open lessons, and accuracies at full depth. */
  describe(trainStep: number, evaluation: Evaluation): string {
    const { open } = this.syllabusAt(trainStep);
    return this.#options.tasks
      .filter(({ name }) => open[name]! > 0)
      .map(({ name, lessons }) => {
        const newest = evaluation[newestName(name)] as number;
        const uniform = evaluation[uniformName(name)] as readonly number[] | undefined;
        const all = uniform ? `, all ${uniform.at(-1)!.toFixed(2)}` : '';
        return `${name} ${open[name]}/${lessons.length} ${newest.toFixed(2)}${all}`;
      })
      .join('; ');
  }
}

async function measurementsOf(folder: Folder): Promise<readonly EvaluationRecord[]> {
  if (!(await folder.exists(METRICS_FILE))) return [];
  const records = parseMetrics(await folder.readText(METRICS_FILE));
  return records.filter((record) => 'evaluation' in record);
}
