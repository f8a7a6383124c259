/** The shape of the result file of `bench:train-step`, from raw rounds to figures, and the tables. */
import { z } from 'zod';
import type { Goal } from '../lib/goals.js';
import { goal, goalSchema, goalTable } from '../lib/goals.js';
import type { RawRounds } from '../lib/harness.js';
import { percent, spread, table, times } from '../lib/markdown.js';
import { distribution, distributionSchema, medianRatio } from '../lib/statistics.js';

const sideSchema = z.object({
  side: z.string(),
  allocator: z.string(),
  /** Of a step, over rounds. */
  milliseconds: distributionSchema,
  gflops: z.number(),
  /** Of the best product of the same round in the same kind of numbers. */
  shareOfRoof: z.number(),
  /** Speed of looplm over this side. */
  looplmOver: z.number(),
  firstLoss: z.number(),
  lastLoss: z.number(),
});

const caseSchema = z.object({
  name: z.string(),
  tokensPerStep: z.number(),
  trainSteps: z.number(),
  gflopPerStep: z.number(),
  /** GFLOP/s of products alone, by side. */
  products: z.record(z.string(), distributionSchema),
  sides: z.array(sideSchema),
  /** Shares of the time in operators, by kind. */
  profile: z.record(z.string(), z.number()),
  raw: z.record(z.string(), z.array(z.number()).readonly()),
});

/** What `benchmarks/results/train-step.json` holds besides title and provenance. */
export const trainStepFields = { cases: z.array(caseSchema), goals: z.array(goalSchema) };

type CaseResult = z.infer<typeof caseSchema>;
type SideResult = z.infer<typeof sideSchema>;

interface Measured {
  readonly name: string;
  readonly rows: number;
  readonly length: number;
}

/**
 * The figures of a case. Rounds are named "SIDE, ALLOCATOR" (seconds a step) and "products, SIDE"
 * (GFLOP/s); the roof of float32 is the better of the two libraries in the round.
 */
export function summarizeCase(
  { name, rows, length }: Measured,
  flops: number,
  raw: RawRounds,
  losses: Readonly<Record<string, readonly number[]>>,
): Omit<CaseResult, 'profile'> {
  const productsOf = (side: string) => raw[`products, ${side}`]!;
  const f32Roof = productsOf('looplm f32').map((ours, round) =>
    Math.max(ours, productsOf('PyTorch f32')[round]!),
  );
  const sides = Object.entries(losses).map(([key, own]) => {
    const [side, allocator] = key.split(', ') as [string, string];
    const seconds = raw[key]!;
    const gflops = seconds.map((time) => flops / time / 1e9);
    const roof = side.includes(' bf16') ? productsOf('PyTorch bf16') : f32Roof;
    return {
      side,
      allocator,
      milliseconds: distribution(seconds.map((time) => 1000 * time)),
      gflops: flops / distribution(seconds).p50 / 1e9,
      shareOfRoof: medianRatio(gflops, roof),
      looplmOver: medianRatio(seconds, raw['looplm f32, default']!),
      firstLoss: own[0]!,
      lastLoss: own.at(-1)!,
    };
  });
  const products = Object.entries(raw).filter(([key]) => key.startsWith('products, '));
  return {
    name,
    tokensPerStep: rows * length,
    trainSteps: Object.values(losses)[0]!.length,
    gflopPerStep: flops / 1e9,
    products: Object.fromEntries(
      products.map(([key, values]) => [key.slice('products, '.length), distribution(values)]),
    ),
    sides,
    raw,
  };
}

/** What looplm shall reach in every case, and from 10M parameters on. */
export function trainStepGoals(cases: readonly CaseResult[]): readonly Goal[] {
  return cases.flatMap((entry) => {
    const { looplmOver } = best(entry, 'PyTorch f32')!;
    const { shareOfRoof } = best(entry, 'looplm f32')!;
    return [
      goal(`${entry.name}: over PyTorch f32`, { atLeast: 1.25 }, [looplmOver]),
      ...(entry.name.startsWith('1M')
        ? []
        : [goal(`${entry.name}: of the products alone`, { atLeast: 0.8 }, [shareOfRoof])]),
    ];
  });
}

/** The tables as Markdown. */
export function trainStepText({
  cases,
  goals,
}: {
  readonly cases: readonly CaseResult[];
  readonly goals: readonly Goal[];
}): string {
  return [caseTable(cases), goalTable(goals), roofText(cases), profileTable(cases)].join('\n\n');
}

/** A side under its faster allocator; undefined if it was not measured. */
function best({ sides }: CaseResult, side: string): SideResult | undefined {
  return sides
    .filter((entry) => entry.side === side)
    .toSorted((a, b) => a.milliseconds.p50 - b.milliseconds.p50)[0];
}

const OTHERS = ['PyTorch f32', 'PyTorch f32 compiled', 'PyTorch bf16', 'PyTorch bf16 compiled'];

function caseTable(cases: readonly CaseResult[]): string {
  return table(
    [
      'model',
      'GFLOP',
      'looplm f32, ms: least, lower quartile, median',
      ...OTHERS.map((side) => `${side}, ms`),
      ...OTHERS.map((side) => `over ${side}`),
      'of the products alone: looplm',
      'PyTorch f32',
    ],
    cases.map((entry) => {
      const own = best(entry, 'looplm f32')!;
      const others = OTHERS.map((side) => best(entry, side));
      return [
        entry.name,
        entry.gflopPerStep.toFixed(0),
        spread(own.milliseconds, 0),
        ...others.map((side) => (side ? spread(side.milliseconds, 0) : '')),
        ...others.map((side) => (side ? times(side.looplmOver) : '')),
        percent(own.shareOfRoof),
        percent(others[0]!.shareOfRoof),
      ];
    }),
  );
}

function roofText(cases: readonly CaseResult[]): string {
  const sides = Object.keys(cases[0]!.products);
  const rates = sides.map((side) => {
    const all = cases.map(({ products }) => products[side]!.p50);
    return `${side} ${Math.min(...all).toFixed(0)} to ${Math.max(...all).toFixed(0)}`;
  });
  return `Products of large matrices alone, GFLOP/s, medians of the cases: ${rates.join('; ')}.`;
}

function profileTable(cases: readonly CaseResult[]): string {
  const kinds = Object.keys(cases[0]!.profile);
  return table(
    ['time in operators of the gradients', ...kinds],
    cases.map(({ name, profile }) => [name, ...kinds.map((kind) => percent(profile[kind] ?? 0))]),
  );
}
