/** What follows from the records of rounds, and what their deltas come to. */
import { describe, expect, it } from 'vitest';
import type { ParameterSpec } from '../../src/model/index.js';
import { encodeDelta, readDelta } from '../../src/train/parallel/deltas.js';
import { outerStep } from '../../src/train/parallel/outer-step.js';
import type { ClosedRound, Round } from '../../src/train/parallel/rounds.js';
import { dataOf, nextRound, spanAt } from '../../src/train/parallel/rounds.js';
import type { TrainConfig } from '../../src/train/index.js';
import { accumulateAt, microBatchesBefore, stagesOf } from '../../src/train/index.js';
import { encodeSafetensors } from '../../src/util/safetensors.js';
import { Draw } from '../draw.js';
import { RUN_CONFIG } from '../train/tiny-run.js';

const CONFIG: TrainConfig = {
  ...RUN_CONFIG,
  schedule: { kind: 'constant', warmupTrainSteps: 0 },
  stages: [
    { trainSteps: 17, accumulate: { from: 1, to: 4, overTrainSteps: 9 }, optimizerState: 'fresh' },
    { trainSteps: 10, accumulate: 3, optimizerState: 'fresh' },
  ],
};
const STAGES = stagesOf(CONFIG);
const EVERY = 4;
const TOTAL = 27;

/** A run whose machines come, go and fail as they like; its rounds. */
function drawRun(seed: number): readonly ClosedRound[] {
  const draw = new Draw(seed);
  let numMachines = 1 + draw.below(3);
  let round: Round = {
    trainSteps: 0,
    updatesBefore: 0,
    microBatchesBefore: 0,
    members: Array.from({ length: numMachines }, (_, n) => `m${n}`),
    results: {},
    joining: [],
    leaving: [],
  };
  const rounds: ClosedRound[] = [];
  while (round.trainSteps < TOTAL) {
    const { members } = round;
    const fates = members.map((id) => ({ id, fate: draw.below(6) }));
    const counting = fates.filter(({ fate }) => fate > 1).map(({ id }) => id);
    const delta = { delta: 'd', loss: 1, seconds: 1 };
    const closed: ClosedRound = {
      ...round,
      results: Object.fromEntries([
        ...counting.map((id) => [id, delta] as const),
        ...fates.filter(({ fate }) => fate === 1).map(({ id }) => [id, { passed: 'NaN' }] as const),
      ]),
      joining: draw.oneIn(3) || counting.length === 0 ? [`m${numMachines++}`] : [],
      leaving: counting.length > 1 && draw.oneIn(5) ? [counting[0]!] : [],
      closed: { deltas: counting.map((member) => ({ member, delta: 'd' })), refused: [] },
    };
    rounds.push(closed);
    round = nextRound(closed, STAGES, EVERY);
  }
  return rounds;
}

describe('rounds', () => {
  it('of any machines give out each update of the run and each micro-batch of a stage once, in order and without a gap', () => {
    for (let seed = 0; seed < 50; seed++) {
      const rounds = drawRun(seed);
      const given = STAGES.map((): number[] => []);
      // What sources know that keep no count: they are the same ones in all stages.
      const updates: number[] = [];
      for (const round of rounds) {
        const span = spanAt(STAGES, EVERY, round.trainSteps);
        for (const member of round.members) {
          for (let inRound = 0; inRound < span.count; inRound++) {
            const { trainStep, first } = dataOf(round, span, member, inRound);
            const count = accumulateAt(span.stage, span.first + inRound);
            for (let i = 0; i < count; i++) given[span.stage.index]!.push(first + i);
            updates.push(trainStep);
          }
        }
      }
      for (const indices of given) expect(indices).toEqual(indices.map((_, index) => index));
      expect(updates).toEqual(updates.map((_, update) => update));
    }
  });

  it('of one machine read what plain training reads', () => {
    let round: Round = { ...drawRun(0)[0]!, members: ['m'], closed: undefined };
    for (let trainStep = 0; trainStep < TOTAL;) {
      const span = spanAt(STAGES, EVERY, round.trainSteps);
      expect(round.trainSteps).toBe(trainStep);
      for (let inRound = 0; inRound < span.count; inRound++, trainStep++) {
        const inStage = trainStep - span.stage.firstTrainStep;
        expect(dataOf(round, span, 'm', inRound)).toEqual({
          trainStep,
          first: microBatchesBefore(span.stage, inStage),
        });
      }
      const results = { m: { delta: 'd', loss: 1, seconds: 1 } };
      const closed = { deltas: [{ member: 'm', delta: 'd' }], refused: [] };
      round = nextRound({ ...round, results, joining: [], leaving: [], closed }, STAGES, EVERY);
    }
  });

  it('in which nothing counts are done again by those who are there and those who come', () => {
    const [first] = drawRun(1);
    const round: ClosedRound = {
      ...first!,
      members: ['a', 'b', 'c'],
      results: { b: { passed: 'NaN' } },
      joining: ['d'],
      leaving: [],
      closed: { deltas: [], refused: [] },
    };
    const next = nextRound(round, STAGES, EVERY);
    expect(next).toMatchObject({ trainSteps: 0, members: ['b', 'd'], updatesBefore: 3 * EVERY });
    expect(next.closed).toBeUndefined();
  });
});

const spec = (hfName: string, shape: readonly number[]) => ({ hfName, shape }) as ParameterSpec;
const SPECS = [spec('w', [3, 100]), spec('b', [2])];

/** Random weights, of which some are large. */
function drawWeights(draw: Draw, scale: number): Map<string, Float32Array> {
  const value = () => (scale * (draw.below(20_001) - 10_000)) / 10_000;
  return new Map(
    SPECS.map(({ hfName, shape }) => [
      hfName,
      Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, value),
    ]),
  );
}

describe('the outer step', () => {
  const W = [spec('w', [1])];
  const delta = async (end: number) => {
    const { bytes } = encodeDelta(
      'f32',
      W,
      new Map(),
      new Map([['w', Float32Array.of(end)]]),
      new Map(),
    );
    return readDelta('f32', W, bytes);
  };

  it('is Nesterov momentum along the mean, as calculated by hand', async () => {
    const settings = { learningRate: 0.5, momentum: 0.5 };
    const start = { weights: new Map([['w', Float32Array.of(8)]]), momentum: new Map() };
    // g = mean(8 - 4, 8 - 0) = 6, b = 6, theta = 8 - 0.5 (6 + 3) = 3.5
    const first = outerStep(start, W, [await delta(4), await delta(0)], settings);
    expect(first.weights.get('w')).toEqual(Float32Array.of(3.5));
    expect(first.momentum.get('w')).toEqual(Float32Array.of(6));
    // g = 3.5 - 1.5 = 2, b = 0.5 * 6 + 2 = 5, theta = 3.5 - 0.5 (2 + 2.5) = 1.25
    const second = outerStep(first, W, [await delta(1.5)], settings);
    expect(second.weights.get('w')).toEqual(Float32Array.of(1.25));
    expect(second.momentum.get('w')).toEqual(Float32Array.of(5));
  });

  it('at rate 1 without momentum ends, to the bit, where the only machine has ended', async () => {
    const draw = new Draw(3);
    for (let i = 0; i < 20; i++) {
      const [weights, end] = [drawWeights(draw, 1), drawWeights(draw, 10 ** (3 - draw.below(9)))];
      const { bytes } = encodeDelta('f32', SPECS, weights, end, new Map());
      const start = { weights, momentum: new Map() };
      const only = [await readDelta('f32', SPECS, bytes)];
      const next = outerStep(start, SPECS, only, { learningRate: 1, momentum: 0 });
      expect([...next.weights]).toEqual([...end]);
    }
  });
});

describe('deltas of 8 bits', () => {
  it('lose nothing over many rounds: what was sent and what is left are what has changed', async () => {
    const draw = new Draw(4);
    let residuals: ReadonlyMap<string, Float32Array> = new Map();
    const sent = new Map(
      SPECS.map(({ hfName, shape }) => [hfName, new Float64Array(shape[0]! * (shape[1] ?? 1))]),
    );
    const changed = new Map([...sent].map(([name, values]) => [name, values.slice()]));
    for (let round = 0; round < 10; round++) {
      const [start, end] = [drawWeights(draw, 1), drawWeights(draw, 1)];
      const encoded = encodeDelta('int8', SPECS, start, end, residuals);
      ({ residuals } = encoded);
      const delta = await readDelta('int8', SPECS, encoded.bytes);
      for (const { hfName } of SPECS) {
        delta.addTo(sent.get(hfName)!, hfName, start.get(hfName)!);
        changed.get(hfName)!.forEach((_, i, all) => {
          all[i]! += end.get(hfName)![i]! - start.get(hfName)![i]!;
        });
      }
    }
    for (const { hfName } of SPECS) {
      const left = residuals.get(hfName)!;
      sent.get(hfName)!.forEach((value, i) => {
        expect(value + left[i]!).toBeCloseTo(changed.get(hfName)![i]!, 5);
        // Half a step of the last round's scale, which is at most (2 + what was left) / 127.
        expect(Math.abs(left[i]!)).toBeLessThan(0.01);
      });
    }
  });

  it('take a quarter of the bytes', () => {
    const specs = [spec('w', [64, 1024])];
    const weights = () => new Map([['w', new Float32Array(64 * 1024)]]);
    const [exact, small] = (['f32', 'int8'] as const).map(
      (format) => encodeDelta(format, specs, weights(), weights(), new Map()).bytes.length,
    );
    expect(small! / exact!).toBeLessThan(0.26);
  });
});

describe('deltas', () => {
  const f32 = (data: Float32Array, shape: readonly number[]) => {
    return { name: 'w', dtype: 'F32', shape, data } as const;
  };
  const W = [spec('w', [2])];
  const refused: readonly (readonly [string, RegExp, Uint8Array])[] = [
    ['bytes of something else', /not a valid safetensors/, Uint8Array.of(1, 2, 3)],
    [
      'another shape',
      /lacks w as F32 of shape \[2\]/,
      encodeSafetensors([f32(new Float32Array(3), [3])], { format: 'f32' }),
    ],
    [
      'another format',
      /of format int8, and the run's are f32/,
      encodeSafetensors([f32(new Float32Array(2), [2])], { format: 'int8' }),
    ],
    [
      'what is infinite',
      /holds Infinity in w/,
      encodeSafetensors([f32(Float32Array.of(1, Infinity), [2])], { format: 'f32' }),
    ],
    [
      'more than is trained',
      /not trained/,
      encodeSafetensors(
        [f32(new Float32Array(2), [2]), { ...f32(new Float32Array(2), [2]), name: 'v' }],
        { format: 'f32' },
      ),
    ],
  ];
  it.each(refused)('with %s are refused', async (_, message, bytes) => {
    await expect(readDelta('f32', W, bytes)).rejects.toThrow(message);
  });
});
