/**
 * What every benchmark shares: alternating rounds, and a result file that says where and
 * how it was measured.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { writeFileAtomic } from 'looplm/node';
import { describeProcessor } from './processor.js';

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

/** Where a figure was measured. */
export interface Provenance {
  readonly commit: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** What Linux tells of the processor; empty elsewhere. */
export function cpuinfo(): string {
  const path = '/proc/cpuinfo';
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function processor(): string {
  const told = cpuinfo();
  return told === '' ? cpus()[0]!.model.trim() : describeProcessor(told);
}

export function provenance(versions: Readonly<Record<string, string>> = {}): Provenance {
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  const installed = (name: string) =>
    (JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string })
      .version;
  return {
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    machine: `${processor()}, ${availableParallelism()} cores, ${gigabytes} GB, ${platform()} ${arch()}`,
    versions: {
      node: process.version,
      'onnxruntime-node': installed('onnxruntime-node'),
      ...versions,
    },
  };
}

/** The same in words, with the settings of the run. */
export function provenanceText({
  machine,
  versions,
  commit,
  settings,
}: Provenance & { readonly settings: Readonly<Record<string, string | number>> }): string {
  const list = (entries: Readonly<Record<string, string | number>>) =>
    Object.entries(entries)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ');
  return `Machine: ${machine}. Versions: ${list(versions)}. Commit ${commit}. Settings: ${list(settings)}.`;
}

/**
 * Writes `benchmarks/results/NAME.json`, or another file; arrays of numbers take a line each.
 *
 * @throws Error for a figure that is no number: nothing was measured there
 */
export async function writeResult(
  name: string,
  result: object,
  path = `benchmarks/results/${name}.json`,
): Promise<void> {
  await writeFileAtomic(resolve(path), `${resultText(result)}\n`);
  process.stdout.write(`wrote ${path}\n`);
}

/** The text of a result file. */
export function resultText(result: object): string {
  const text = JSON.stringify(
    result,
    (key, value: unknown) => {
      if (typeof value === 'number' && !Number.isFinite(value)) {
        throw new Error(`The figure "${key}" is ${value}: nothing was measured there.`);
      }
      return value;
    },
    2,
  );
  return text.replaceAll(/\[\s+(-?\d[^[\]{}"]*?)\s+\]/g, (_, numbers: string) => {
    return `[${numbers.replaceAll(/\s+/g, ' ')}]`;
  });
}
