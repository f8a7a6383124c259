/**
 * The golden fixtures as the parity tests read them: two tiny checkpoints with results of an
 * independent float64 implementation (test/fixtures/README.md), and their tolerances.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { loadCheckpoint, memorySource } from '../../src/model/index.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/files/index.js';
import { openSafetensors } from '../../src/runtime/safetensors.js';

export const FIXTURES = ['tiny-mha', 'tiny-gqa-tied'] as const;
export type FixtureName = (typeof FIXTURES)[number];

/** Absolute tolerances for float32, from the table in test/fixtures/README.md. */
export const TOLERANCE = {
  forward: 1e-4,
  probability: 1e-5,
  generationLogits: 5e-4,
  rollout: 2e-4,
  loss: 2e-5,
  gradient: 2e-5,
  gradNorm: 5e-4,
  gradientChecksum: (elements: number) => 1e-4 + 1e-6 * elements,
  parameterChecksum: (elements: number) => 1e-5 + 1e-6 * elements,
  adamWFinal: 2e-5,
} as const;

export interface Checksum {
  readonly sum: number;
  readonly abs_sum: number;
  readonly sin_sum: number;
}

export interface StageOneGolden {
  readonly beta: number;
  readonly loss: number;
  readonly expected_ce: number;
  readonly entropy: number;
  readonly ce_per_loop: readonly number[];
  readonly mean_pdf: readonly number[];
  readonly grad_norm: number;
  readonly grad_checksums: Readonly<Record<string, Checksum>>;
}

export interface GenerationGolden {
  readonly mode: 'full' | 'exact' | 'shared' | 'last-exited';
  readonly q: number | null;
  readonly key: string;
  readonly tokens: readonly number[];
  readonly exit_steps: readonly number[];
  readonly token_logprob: readonly number[];
  readonly loop_logprobs: readonly (readonly number[])[];
  readonly gate_logits: readonly (readonly number[])[];
}

export interface Golden {
  readonly parameters: number;
  readonly forward: {
    readonly ids: readonly (readonly number[])[];
    readonly exit_steps: Readonly<Record<string, readonly (readonly number[])[]>>;
  };
  readonly generate: {
    readonly prompt: readonly number[];
    readonly new_tokens: number;
    readonly runs: readonly GenerationGolden[];
  };
  readonly train: {
    readonly ids: readonly (readonly number[])[];
    readonly targets: readonly (readonly number[])[];
    readonly counted_targets: number;
  };
  readonly stage1: readonly StageOneGolden[];
  readonly stage2: {
    readonly k: number;
    readonly gamma: number;
    readonly per_t: readonly number[];
    readonly loss: number;
    readonly grad_bias: number;
    readonly grad_weight_checksum: Checksum;
  };
  readonly adamw: {
    readonly losses: readonly number[];
    readonly grad_norms: readonly number[];
    readonly param_checksums: Readonly<Record<string, Checksum>>;
  };
}

/** A checkpoint with its goldens. */
export interface OpenFixture<G> {
  readonly path: string;
  readonly config: LoopLMConfig;
  readonly weights: ModelWeights;
  readonly golden: G;
  /** An array of golden.safetensors. */
  array(name: string): Promise<Float32Array>;
  readonly arrayNames: readonly string[];
}

export interface Fixture extends OpenFixture<Golden> {
  readonly name: FixtureName;
}

export async function loadFixture(name: FixtureName): Promise<Fixture> {
  return { name, ...(await openFixture<Golden>(name)) };
}

/** @param name - of a folder of test/fixtures, whose golden.json is a `G` */
export async function openFixture<G>(name: string): Promise<OpenFixture<G>> {
  const path = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  const folder = nodeFolder(path);
  const { config, weights } = await loadCheckpoint(folder);
  const golden = JSON.parse(await folder.readText('golden.json')) as G;
  const goldenName = 'golden.safetensors';
  const bytes = new Uint8Array(await readFile(join(path, goldenName)));
  const reader = await openSafetensors(memorySource(goldenName, bytes));
  const array = (key: string) => reader.readFloat32(key);
  return { path, config, weights, golden, array, arrayNames: [...reader.entries.keys()] };
}

/** Largest absolute difference; fails on another length or a NaN. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    worst = difference <= worst ? worst : difference;
  }
  expect(worst, `${what}: largest difference`).toBeLessThanOrEqual(tolerance);
}

export function expectChecksum(
  values: Float32Array,
  golden: Checksum,
  tolerance: number,
  what: string,
): void {
  let [sum, absSum, sinSum] = [0, 0, 0];
  values.forEach((value, index) => {
    sum += value;
    absSum += Math.abs(value);
    sinSum += value * Math.sin(index + 1);
  });
  expectClose(
    [sum, absSum, sinSum],
    [golden.sum, golden.abs_sum, golden.sin_sum],
    tolerance,
    `${what}: checksum`,
  );
}
