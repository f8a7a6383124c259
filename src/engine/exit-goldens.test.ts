import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exitDistribution, meanExitDepth } from './exit-distribution.js';
import { cdfThreshold } from './exit-policies.js';
import { ExitTracker } from './exit-policy.js';

const FIXTURES = ['tiny-mha', 'tiny-gqa-tied'] as const;

function golden(model: string) {
  const path = new URL(`../../test/fixtures/${model}/golden.json`, import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** One F32 array of a golden file (these tests read nothing else of the format). */
function goldenArray(model: string, name: string): { shape: number[]; values: Float32Array } {
  const path = new URL(`../../test/fixtures/${model}/golden.safetensors`, import.meta.url);
  const bytes = new Uint8Array(readFileSync(path));
  const headerBytes = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes)));
  const { shape, data_offsets: offsets } = header[name];
  const begin = 8 + headerBytes;
  const values = new Float32Array(bytes.slice(begin + offsets[0], begin + offsets[1]).buffer);
  return { shape, values };
}

/** The column of loop values of every token of a golden `[R, B, T]` array. */
function perToken(model: string, name: string): number[][] {
  const { shape, values } = goldenArray(model, name);
  const numLoops = shape[0]!;
  const numTokens = values.length / numLoops;
  return Array.from({ length: numTokens }, (_, token) =>
    Array.from(values.filter((__, index) => index % numTokens === token)),
  );
}

describe('exit goldens', () => {
  test.each(FIXTURES)('%s: lambda, pdf and cdf of every token equal the goldens', (model) => {
    const lambda = perToken(model, 'forward.lambda');
    const pdf = perToken(model, 'forward.pdf');
    const cdf = perToken(model, 'forward.cdf');
    for (const [token, gateLogits] of perToken(model, 'forward.gate_logits').entries()) {
      const distribution = exitDistribution(gateLogits);
      // the goldens are stored as float32: half a unit in the last place is 3e-8
      distribution.exitProb.forEach((p, t) =>
        expect(Math.abs(p - lambda[token]![t]!)).toBeLessThan(3e-7),
      );
      distribution.exitPdf.forEach((p, t) =>
        expect(Math.abs(p - pdf[token]![t]!)).toBeLessThan(3e-7),
      );
      distribution.exitCdf.forEach((p, t) =>
        expect(Math.abs(p - cdf[token]![t]!)).toBeLessThan(3e-7),
      );
    }
  });

  test.each(FIXTURES)('%s: the mean exit depth equals the golden', (model) => {
    const depths = perToken(model, 'forward.gate_logits').map((gateLogits) =>
      meanExitDepth(exitDistribution(gateLogits).exitPdf),
    );
    const mean = depths.reduce((sum, depth) => sum + depth, 0) / depths.length;
    expect(mean).toBeCloseTo(golden(model).forward.mean_exit_step, 6);
  });

  test.each(FIXTURES)('%s: Q-exit chooses the golden exit depths at every threshold', (model) => {
    const exitSteps: Record<string, number[][]> = golden(model).forward.exit_steps;
    expect(Object.keys(exitSteps)).toHaveLength(5);
    for (const [threshold, expected] of Object.entries(exitSteps)) {
      const policy = cdfThreshold(Number(threshold));
      const depths = perToken(model, 'forward.gate_logits').map((gateLogits, tokenIndex) => {
        const context = { numLoops: gateLogits.length, seed: 0, tokenIndex };
        const tracker = new ExitTracker(policy, context);
        gateLogits.find((gateLogit) => tracker.observe({ gateLogit }));
        return tracker.depth;
      });
      expect(depths).toEqual(expected.flat());
    }
  });

  test.each(FIXTURES)(
    '%s: every token of every adaptive run exits at its golden depth',
    (model) => {
      const runs = golden(model).generate.runs.filter(
        (run: { q: number | null }) => run.q !== null,
      );
      expect(runs.length).toBeGreaterThan(10);
      const numLoops = goldenArray(model, 'forward.lambda').shape[0]!;
      for (const run of runs) {
        const depths = run.gate_logits.map((gateLogits: number[], tokenIndex: number) => {
          const tracker = new ExitTracker(cdfThreshold(run.q), { numLoops, seed: 0, tokenIndex });
          gateLogits.find((gateLogit) => tracker.observe({ gateLogit }));
          return tracker.depth;
        });
        expect(depths).toEqual(run.exit_steps);
      }
    },
  );
});
