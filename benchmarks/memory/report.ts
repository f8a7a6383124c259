/**
 * The shape of the result file of `bench:memory`, the goals, and the tables made of it.
 *
 * The plan counts mapped weights apart, since the system may drop their pages at any time; so they
 * are taken off the resident size before the two are compared. Growth is looked for in the second
 * half of a series, when heaps have reached their size: the median of the slopes between all pairs of
 * samples, which a single garbage collection does not move.
 */
import { z } from 'zod';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import { percent, table } from '../lib/markdown.js';
import { median } from '../lib/statistics.js';
import type { Resident } from '../lib/resident.js';
import type { Sample } from './samples.js';
import { grownSchema, sampleSchema } from './samples.js';

const measuredFields = {
  grown: grownSchema,
  repeated: z.array(sampleSchema),
  bundledCycles: z.array(sampleSchema),
  modelCycles: z.array(sampleSchema),
};

/** What `benchmarks/results/memory.json` holds besides title and provenance. */
export const memoryFields = { model: z.string(), goals: z.array(goalSchema), ...measuredFields };

type Measured = z.infer<z.ZodObject<typeof measuredFields>>;

interface Result extends Measured {
  readonly model: string;
  readonly goals: readonly Goal[];
}

const PLAN_TOLERANCE = 0.1;
/** Growth over the second half of a series that still counts as flat, as a share of the last size. */
const MAX_GROWTH = 0.05;

/** What the plan speaks of. */
const planned = ({ total, weightFile = 0 }: Resident) => total - weightFile;
const residentOf = ({ resident }: Sample) => planned(resident);

/** How the value of the samples rises in the second half of their series. */
function trend<T extends Sample>(samples: readonly T[], value: (sample: T) => number) {
  const settled = samples.slice(Math.floor(samples.length / 2));
  const bytesEach = median(
    settled.flatMap((later, index) =>
      settled
        .slice(0, index)
        .map((earlier) => (value(later) - value(earlier)) / (later.count - earlier.count)),
    ),
  );
  const [first, last] = [settled[0]!, settled.at(-1)!];
  return {
    times: last.count,
    first: value(samples[0]!),
    last: value(last),
    bytesEach,
    growth: (bytesEach * (last.count - first.count)) / residentOf(last),
  };
}

/** What is left of a growing sequence's memory once its keys and values are taken off. */
const withoutKv = (sample: Measured['grown']['samples'][number]) =>
  planned(sample.resident) - sample.plannedKv;

/** The states of the growing sequence that are compared with the plan. */
function stagesOf({ grown }: Measured) {
  const [prefilled, ended] = [grown.samples[0]!, grown.samples.at(-1)!];
  return [
    { name: 'loaded', ...grown.loaded },
    { name: `${prefilled.positions} positions, after the prefill`, ...prefilled },
    { name: `${ended.positions} positions, after ${ended.count} tokens`, ...ended },
  ];
}

function seriesOf({ grown, repeated, bundledCycles, modelCycles }: Measured) {
  const of = (name: string, samples: readonly Sample[]) => ({
    name,
    ...trend(samples, residentOf),
  });
  return [
    {
      name: 'tokens of one sequence, beyond keys and values',
      ...trend(grown.samples, withoutKv),
    },
    of('tokens in short sequences', repeated),
    of('loads and disposes of the bundled model', bundledCycles),
    of('loads and disposes of this model', modelCycles),
  ];
}

/** The goals and what was reached. */
export function goalsOf(measured: Measured): readonly Goal[] {
  return [
    ...stagesOf(measured).map(({ name, resident, planned: bytes }) =>
      goal(
        `resident over planned, ${name}`,
        { atLeast: 1 - PLAN_TOLERANCE, atMost: 1 + PLAN_TOLERANCE },
        [planned(resident) / bytes],
      ),
    ),
    ...seriesOf(measured).map(({ times, name, growth }) =>
      goal(`growth in the second half of ${times} ${name}, as a share`, { atMost: MAX_GROWTH }, [
        growth,
      ]),
    ),
  ];
}

const megabytes = (bytes: number | undefined) =>
  bytes === undefined ? '' : (bytes / 2 ** 20).toFixed(0);

/** The tables as Markdown. */
export function memoryText({ model, goals, ...measured }: Result): string {
  const stages = table(
    [
      'state',
      'resident, MiB',
      'of it anonymous',
      'of it files',
      'of them weights',
      'planned, MiB',
      'resident without weight file over planned',
    ],
    stagesOf(measured).map(({ name, resident, planned: bytes }) => [
      name,
      megabytes(resident.total),
      megabytes(resident.anonymous),
      megabytes(resident.files),
      megabytes(resident.weightFile),
      megabytes(bytes),
      (planned(resident) / bytes).toFixed(2),
    ]),
  );
  const series = table(
    [
      'what is repeated',
      'times',
      'first, MiB',
      'last, MiB',
      'then KiB each',
      'growth of the second half',
    ],
    seriesOf(measured).map(({ name, times, first, last, bytesEach, growth }) => [
      name,
      String(times),
      megabytes(first),
      megabytes(last),
      (bytesEach / 1024).toFixed(2),
      percent(growth, 1),
    ]),
  );
  const plan = ['```text', ...measured.grown.plan, '```'].join('\n');
  return [`Random weights, ${model}. The plan:`, plan, stages, series, goalTable(goals)].join(
    '\n\n',
  );
}
