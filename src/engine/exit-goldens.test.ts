import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { memorySource } from '../util/folder.js';
import { openSafetensors } from '../util/safetensors.js';
import { exitDistribution } from './exit-distribution.js';
import { cdfThreshold } from './exit-policies.js';
import { ExitTracker } from './exit-policy.js';

const FIXTURES = ['tiny-mha', 'tiny-gqa-tied'] as const;

function golden(model: string) {
  const path = new URL(`../../test/fixtures/${model}/golden.json`, import.meta.url);
  return JSON.parse(readFileSync(path, 'utf8'));
}

/** The column of loop values of every token of a golden `[R, B, T]` array. */
async function perToken(model: string, name: string): Promise<number[][]> {
  const path = new URL(`../../test/fixtures/${model}/golden.safetensors`, import.meta.url);
  const file = await openSafetensors(
    memorySource(path.pathname, new Uint8Array(readFileSync(path))),
  );
  const values = await file.readFloat32(name);
  const numLoops = file.entries.get(name)!.shape[0]!;
  const numTokens = values.length / numLoops;
  return Array.from({ length: numTokens }, (_, token) =>
    Array.from(values.filter((__, index) => index % numTokens === token)),
  );
}

describe('exit goldens', () => {
  test.each(FIXTURES)('%s: lambda, pdf and cdf of every token equal the goldens', async (model) => {
    const lambda = await perToken(model, 'forward.lambda');
    const pdf = await perToken(model, 'forward.pdf');
    const cdf = await perToken(model, 'forward.cdf');
    for (const [token, gateLogits] of (await perToken(model, 'forward.gate_logits')).entries()) {
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

  test.each(FIXTURES)('%s: the mean exit depth equals the golden', async (model) => {
    const depths = (await perToken(model, 'forward.gate_logits')).map((gateLogits) =>
      exitDistribution(gateLogits).exitPdf.reduce((sum, p, index) => sum + p * (index + 1), 0),
    );
    const mean = depths.reduce((sum, depth) => sum + depth, 0) / depths.length;
    expect(mean).toBeCloseTo(golden(model).forward.mean_exit_step, 6);
  });

  test.each(FIXTURES)(
    '%s: Q-exit chooses the golden exit depths at every threshold',
    async (model) => {
      const exitSteps: Record<string, number[][]> = golden(model).forward.exit_steps;
      expect(Object.keys(exitSteps)).toHaveLength(5);
      for (const [threshold, expected] of Object.entries(exitSteps)) {
        const policy = cdfThreshold(Number(threshold));
        const depths = (await perToken(model, 'forward.gate_logits')).map(
          (gateLogits, tokenIndex) => {
            const context = { numLoops: gateLogits.length, seed: 0, tokenIndex };
            const tracker = new ExitTracker(policy, context);
            gateLogits.find((gateLogit) => tracker.observe({ gateLogit }));
            return tracker.depth;
          },
        );
        expect(depths).toEqual(expected.flat());
      }
    },
  );

  test.each(FIXTURES)(
    '%s: every token of every adaptive run exits at its golden depth',
    async (model) => {
      const runs = golden(model).generate.runs.filter(
        (run: { q: number | null }) => run.q !== null,
      );
      expect(runs.length).toBeGreaterThan(10);
      const numLoops = (await perToken(model, 'forward.lambda'))[0]!.length;
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
