/** The shape of the result file of `bench:train-step`, from raw rounds to figures, and the tables. */
import { z } from 'zod';
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
  /** Speed of looplm over this side under the same allocator. */
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
  raw: z.record(z.string(), z.array(z.number()).readonly()),
});

/** What `benchmarks/results/train-step.json` holds besides title and provenance. */
export const trainStepFields = { cases: z.array(caseSchema) };

type CaseResult = z.infer<typeof caseSchema>;

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
): CaseResult {
  const productsOf = (side: string) => raw[`products, ${side}`]!;
  const f32Roof = productsOf('looplm f32').map((ours, round) =>
    Math.max(ours, productsOf('PyTorch f32')[round]!),
  );
  const sides = Object.entries(losses).map(([key, own]) => {
    const [side, allocator] = key.split(', ') as [string, string];
    const seconds = raw[key]!;
    const gflops = seconds.map((time) => flops / time / 1e9);
    const roof = side.endsWith(' bf16') ? productsOf(side) : f32Roof;
    return {
      side,
      allocator,
      milliseconds: distribution(seconds.map((time) => 1000 * time)),
      gflops: flops / distribution(seconds).p50 / 1e9,
      shareOfRoof: medianRatio(gflops, roof),
      looplmOver: medianRatio(seconds, raw[`looplm f32, ${allocator}`]!),
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

/** The tables as Markdown. */
export function trainStepText({ cases }: { readonly cases: readonly CaseResult[] }): string {
  return cases.flatMap((entry) => [about(entry), sideTable(entry)]).join('\n\n');
}

function about({ name, tokensPerStep, gflopPerStep, trainSteps, products }: CaseResult): string {
  const roofs = Object.entries(products).map(
    ([side, gflops]) => `${side} ${spread(gflops, 0)} GFLOP/s`,
  );
  return `**${name}**, ${tokensPerStep} tokens and ${gflopPerStep.toFixed(0)} GFLOP a step; products alone (least, lower quartile, median): ${roofs.join('; ')}. Losses are those before the first and the last of ${trainSteps} steps.`;
}

function sideTable({ sides }: CaseResult): string {
  return table(
    [
      'side',
      'allocator',
      'ms a step: least, lower quartile, median',
      'GFLOP/s',
      'of the products alone',
      'looplm over it',
      'first loss',
      'last loss',
    ],
    sides.map((entry) => [
      entry.side,
      entry.allocator,
      spread(entry.milliseconds, 0),
      entry.gflops.toFixed(0),
      percent(entry.shareOfRoof),
      times(entry.looplmOver),
      entry.firstLoss.toFixed(4),
      entry.lastLoss.toFixed(4),
    ]),
  );
}
