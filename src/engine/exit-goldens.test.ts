import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exitDistribution, meanExitDepth } from './exit-distribution.js';

const FIXTURES = ['tiny-mha', 'tiny-gqa-tied'] as const;

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
    Array.from({ length: numLoops }, (_, loopIndex) => values[loopIndex * numTokens + token]!),
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
    const path = new URL(`../../test/fixtures/${model}/golden.json`, import.meta.url);
    const golden = JSON.parse(readFileSync(path, 'utf8'));
    const depths = perToken(model, 'forward.gate_logits').map((gateLogits) =>
      meanExitDepth(exitDistribution(gateLogits).exitPdf),
    );
    const mean = depths.reduce((sum, depth) => sum + depth, 0) / depths.length;
    expect(mean).toBeCloseTo(golden.forward.mean_exit_step, 6);
  });
});
