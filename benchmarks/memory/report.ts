/**
 * The shape of the result file of `bench:memory`, the goals, and the tables made of it.
 *
 * The plan counts mapped weights apart, since the system may drop their pages at any time; so they
 * are taken off the resident size before the two are compared. Growth is the median of the slopes
 * between all pairs of samples, which a single garbage collection does not move.
 */
import { z } from 'zod';
import { median } from '../lib/harness.js';
import type { Goal } from '../lib/markdown.js';
import { goalSchema, goalTable, table } from '../lib/markdown.js';
import type { Resident } from './resident.js';
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
/** Growth over a whole series that still counts as flat, as a share of the resident size. */
const MAX_GROWTH = 0.01;
/** Share of a series at its beginning that is left out of its slope; at least its first sample. */
const WARM_UP = 0.2;

/** What the plan speaks of. */
const planned = ({ total, weightFile = 0 }: Resident) => total - weightFile;

/** Bytes for each count that the value of the samples rises by. */
function slope<T extends Sample>(samples: readonly T[], value: (sample: T) => number): number {
  const settled = samples.slice(Math.max(1, Math.floor(WARM_UP * samples.length)));
  return median(
    settled.flatMap((later, index) =>
      settled
        .slice(0, index)
        .map((earlier) => (value(later) - value(earlier)) / (later.count - earlier.count)),
    ),
  );
}

/** Growth over the whole series as a share of the resident size. */
function growth<T extends Sample>(samples: readonly T[], value: (sample: T) => number): number {
  const last = samples.at(-1)!;
  return (slope(samples, value) * last.count) / planned(last.resident);
}

const residentOf = ({ resident }: Sample) => planned(resident);
/** What is left of a growing sequence's memory once its plan is taken off. */
const unplannedOf = (sample: Measured['grown']['samples'][number]) =>
  planned(sample.resident) - sample.planned;

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
    first: samples[0]!,
    last: samples.at(-1)!,
    bytesEach: slope(samples, residentOf),
    growth: growth(samples, residentOf),
  });
  return [
    {
      name: 'tokens of one sequence, beyond its plan',
      first: grown.samples[0]!,
      last: grown.samples.at(-1)!,
      bytesEach: slope(grown.samples, unplannedOf),
      growth: growth(grown.samples, unplannedOf),
    },
    of('tokens in short sequences', repeated),
    of('loads and disposes of the bundled model', bundledCycles),
    of('loads and disposes of this model', modelCycles),
  ];
}

/** The goals and what was reached. */
export function goalsOf(measured: Measured): readonly Goal[] {
  return [
    ...stagesOf(measured).map(({ name, resident, planned: bytes }) => ({
      name: `resident over planned, ${name}`,
      atLeast: 1 - PLAN_TOLERANCE,
      atMost: 1 + PLAN_TOLERANCE,
      value: planned(resident) / bytes,
    })),
    ...seriesOf(measured).map((series) => ({
      name: `growth as a share, ${series.last.count} ${series.name}`,
      atMost: MAX_GROWTH,
      value: series.growth,
    })),
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
    ['what is repeated', 'times', 'first, MiB', 'last, MiB', 'slope, KiB each', 'growth'],
    seriesOf(measured).map(({ name, first, last, bytesEach, growth: share }) => [
      name,
      String(last.count),
      megabytes(residentOf(first)),
      megabytes(residentOf(last)),
      (bytesEach / 1024).toFixed(2),
      `${(100 * share).toFixed(1)} %`,
    ]),
  );
  const plan = ['```text', ...measured.grown.plan, '```'].join('\n');
  return [`Random weights, ${model}. The plan:`, plan, stages, series, goalTable(goals)].join(
    '\n\n',
  );
}
