/**
 * What every benchmark shares: alternating rounds, medians, and a result file that says where and
 * how it was measured.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { writeFileAtomic } from 'looplm/node';

/** One thing that is measured, a number each time it is called. */
export interface Variant {
  readonly name: string;
  measure(): Promise<number>;
}

/** Raw values of a variant, one for each round. */
export type RawRounds = Readonly<Record<string, readonly number[]>>;

/**
 * Measures all variants in every round, in reversed order every second round, so that drift of the
 * machine hits them alike.
 */
export async function alternate(variants: readonly Variant[], rounds: number): Promise<RawRounds> {
  const values = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? variants : variants.toReversed();
    for (const variant of order) {
      const { name } = variant;
      values.get(name)!.push(await variant.measure());
      process.stderr.write(
        `round ${round + 1}/${rounds} ${name}: ${values.get(name)!.at(-1)!.toPrecision(4)}\n`,
      );
    }
  }
  return Object.fromEntries(values);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]!
    : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median over rounds of the ratio within a round: robust to a machine whose speed drifts. */
export function medianRatio(numerator: readonly number[], denominator: readonly number[]): number {
  return median(numerator.map((value, round) => value / denominator[round]!));
}

/** Where a figure was measured. */
export interface Provenance {
  readonly commit: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
}

export function provenance(versions: Readonly<Record<string, string>> = {}): Provenance {
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const installed = (name: string) =>
    (JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string })
      .version;
  return {
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    machine: `${cpus()[0]!.model.trim()}, ${availableParallelism()} cores, ${gigabytes} GB, ${platform()} ${arch()}`,
    versions: {
      node: process.version,
      'onnxruntime-node': installed('onnxruntime-node'),
      ...versions,
    },
  };
}

/** Writes `benchmarks/results/NAME.json`, or another file. */
export async function writeResult(
  name: string,
  result: object,
  path = `benchmarks/results/${name}.json`,
): Promise<void> {
  await writeFileAtomic(resolve(path), `${JSON.stringify(result, undefined, 2)}\n`);
  process.stdout.write(`wrote ${path}\n`);
}
