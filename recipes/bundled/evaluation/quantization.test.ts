/** Laws of measuring what quantisation costs, on made-up traces. */
import type { Trace } from 'looplm/engine';
import { expect, test } from 'vitest';
import { figuresToJson } from './figures.js';
import type { QuantizationFigures } from './quantization-figures.js';
import { quantizationSchema } from './quantization-figures.js';
import { VariantTally } from './quantization-measure.js';
import { quantizationChart, quantizationTables } from './quantization-report.js';

const TARGETS = [-100, 2];

/** Two loops, two positions, states of one number, three tokens; only the last position is read out. */
function traceOf(options: {
  readonly states: readonly [number, number, number, number];
  readonly answers: readonly [readonly number[], readonly number[]];
  readonly exitCdf: number;
}): Trace {
  const { states, answers, exitCdf } = options;
  const other = [9, 0, 0];
  return {
    numLoops: 2,
    length: 2,
    hidden: Float32Array.from(states),
    logits: Float32Array.from([other, answers[0], other, answers[1]].flat()),
    gateLogits: new Float32Array(4),
    exitPdf: new Float32Array(4),
    exitCdf: Float32Array.of(1, exitCdf, 1, 1),
  };
}

const PLAIN = traceOf({
  states: [3, 4, 1, 0],
  answers: [
    [1, 0, 0],
    [0, 0, 1],
  ],
  exitCdf: 0.1,
});

function tallyOf(...variants: readonly Trace[]) {
  const tally = new VariantTally(0.2);
  for (const variant of variants) {
    tally.add({ task: 'cups', targets: TARGETS }, PLAIN, variant);
    tally.add({ task: 'sums', targets: TARGETS }, PLAIN, variant);
  }
  return tally.figures();
}

test('float32 agrees with itself', () => {
  expect(tallyOf(PLAIN)).toEqual({
    accuracyByDepth: { cups: [0, 1], sums: [0, 1] },
    stateErrorByDepth: [0, 0],
    klByDepth: [0, 0],
    exit: { accuracy: 1, meanDepth: 2, equalDepths: 1, depthDifference: 0 },
  });
});

test('errors are relative to the states of a depth, divergences to the answer alone', () => {
  const ln3 = Math.log(3);
  const variant = traceOf({
    states: [3, 3, 1, 0.5],
    answers: [
      [1, 0, 0],
      [0, 0, 1 + ln3],
    ],
    exitCdf: 0.2,
  });
  const { stateErrorByDepth, klByDepth, exit } = tallyOf(variant);
  expect(stateErrorByDepth).toEqual([1 / 5, 0.5]);
  // p = (1, 1, e) / (2 + e) and q = (1, 1, 3e) / (2 + 3e), in the order of the logits
  const [p, q] = [2 + Math.E, 2 + 3 * Math.E];
  const expected = (2 / p) * Math.log(q / p) + (Math.E / p) * Math.log(q / p / 3);
  expect(klByDepth[0]).toBe(0);
  expect(klByDepth[1]).toBeCloseTo(expected, 6);
  // a CDF at the threshold exits
  expect(exit).toEqual({ accuracy: 0, meanDepth: 1, equalDepths: 0, depthDifference: 1 });
});

test('tasks count the same, however many problems they have', () => {
  const tally = new VariantTally(0.2);
  const early = traceOf({ states: [3, 4, 1, 0], answers: [[], []], exitCdf: 1 });
  const right = { ...PLAIN, exitCdf: early.exitCdf };
  for (let i = 0; i < 3; i++) tally.add({ task: 'cups', targets: TARGETS }, PLAIN, PLAIN);
  tally.add({ task: 'sums', targets: TARGETS }, PLAIN, right);
  expect(tally.figures().exit).toMatchObject({ accuracy: 0.5, meanDepth: 1.5, equalDepths: 0.5 });
});

const FIGURES: QuantizationFigures = {
  provenance: {
    looplm: '0',
    onnxruntime: '0',
    seed: 1,
    questions: 2,
    calibrationTokens: 3,
    calibrationSeed: 4,
  },
  exitThreshold: 0.2,
  variants: ['f32', 'q8'].map((name) => ({
    name,
    sizeBytes: 1_234_567,
    weightError: 0.01,
    ...tallyOf(PLAIN),
  })),
};
const [PLAIN_VARIANT, Q8] = FIGURES.variants;
const WORSE = { ...Q8!, stateErrorByDepth: [0.01, 0.02], klByDepth: [0.00012, 0.5] };

test('figures are what is read back', () => {
  const json = JSON.parse(figuresToJson(FIGURES, (value) => value));
  expect(quantizationSchema.parse(json)).toEqual(FIGURES);
});

test('tables and picture name every variant and depth', () => {
  const figures = { ...FIGURES, variants: [PLAIN_VARIANT!, WORSE] };
  const tables = quantizationTables(figures);
  expect(tables).toContain('| q8 | 0.0 % | 100.0 % | 100.0 % | 2.00 | 100.0 % | 0.000 |');
  expect(tables).toContain('| q8 | 1.23 MB | 1.00 % | 1.00 % | 2.00 % |');
  expect(tables).toContain('| q8 | 1.2e-4 | 0.50 |');
  expect(tables).toContain('by a factor of 2.0 to 2.0');
  const svg = quantizationChart(figures);
  const texts = ['q8', 'hidden states', 'answers', 'depth (loops)'];
  expect(texts.filter((text) => !svg.includes(text))).toEqual([]);
  expect(svg).not.toContain('NaN');
});
