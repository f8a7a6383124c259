/**
 * Training with exits: the forward pass is what the engine computes where all tokens exit by the same rule,
 * prompt included, under `last-exited`; and the rule is told to it document by document.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingBatch } from '../../src/data/index.js';
import { generatedSource, packDocuments } from '../../src/data/index.js';
import { Engine, cdfThreshold } from '../../src/engine/index.js';
import { ConfigError } from '../../src/errors.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { ExitSettings } from '../../src/train/index.js';
import {
  EXIT_QUANTILE,
  TokenScorer,
  parseTrainConfig,
  withExitQuantiles,
} from '../../src/train/index.js';
import { makeModel, modelDraw, promptArbitrary } from '../engine/random-model.js';
import { uploadWeights } from '../engine/resident.js';
import { requestOf, runAll } from '../engine/runs.js';
import { TINY, documentArbitrary } from './support.js';

const SIZE = { rows: 2, length: 16 };

let device: Device;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
});
afterAll(() => device.dispose());

/** A batch all of whose positions exit at one quantile. */
const atQuantile = (batch: TrainingBatch, quantile: number): TrainingBatch => ({
  ...batch,
  extra: {
    [EXIT_QUANTILE.input.name]: new Float32Array(batch.ids.length).fill(quantile),
  },
});

function packed(documents: Parameters<typeof packDocuments>[0]): TrainingBatch {
  return packDocuments(documents, { ...SIZE, padId: 0 }).batch;
}

describe('the forward pass with exits', () => {
  it('gives what the engine does where prompt and answer exit under last-exited', async () => {
    const depths = new Set<number>();
    await fc.assert(
      fc.asyncProperty(
        modelDraw,
        promptArbitrary(6),
        fc.array(fc.nat(10), { minLength: 2, maxLength: 8 }),
        fc.double({ min: 0.05, max: 0.95, noNaN: true }),
        async (draw, promptIds, forcedIds, quantile) => {
          const { config, weights } = await makeModel(draw);
          const engine = await Engine.create({ device, config, weights });
          const [run] = await runAll(engine, [
            requestOf(promptIds, cdfThreshold(quantile), {
              forcedIds,
              maxNewTokens: forcedIds.length,
              kvPolicy: 'last-exited',
              prefill: 'adaptive',
              record: true,
            }),
          ]);
          await engine.dispose();
          const record = run!.finish.rollout!;
          const ids = [...promptIds, ...forcedIds.slice(0, -1)];
          const targets = ids.map((_, at) => forcedIds[at - promptIds.length + 1] ?? -100);
          const resident = await uploadWeights(device, config, weights);
          const scorer = await TokenScorer.create(config, resident, SIZE, EXIT_QUANTILE);
          const { logProbs } = await scorer.score(atQuantile(packed([{ ids, targets }]), quantile));
          record.loopLogprobs.forEach((byLoop, token) => {
            const position = promptIds.length - 1 + token;
            byLoop.slice(0, record.exitDepths[token]).forEach((logprob, loopIndex) => {
              expect(Math.abs(logProbs[loopIndex]![position]! - logprob)).toBeLessThan(5e-4);
            });
            depths.add(record.exitDepths[token]!);
          });
          for (const depth of record.promptExitDepths ?? []) depths.add(depth);
          await scorer.dispose();
          for (const buffer of resident.buffers.values()) await device.free(buffer);
        },
      ),
      { numRuns: 15, seed: 5 },
    );
    expect(depths.size).toBeGreaterThan(2);
  });

  it('is the plain one where no quantile is reached, and another where some are', async () => {
    const { config, weights } = await makeModel({
      config: TINY,
      dtype: 'f32',
      namesHeadDim: true,
      seed: 3,
    });
    const resident = await uploadWeights(device, config, weights);
    const plain = await TokenScorer.create(config, resident, SIZE);
    const exiting = await TokenScorer.create(config, resident, SIZE, EXIT_QUANTILE);
    const batch = packed(fc.sample(documentArbitrary(9), { numRuns: 3, seed: 4 }));
    const expected = await plain.score(batch);
    expect(await exiting.score(atQuantile(batch, 2))).toEqual(expected);
    const other = await exiting.score(atQuantile(batch, 0.2));
    expect(other.logProbs[0]).toEqual(expected.logProbs[0]); // all run the first loop
    const apart = other.logProbs[2]!.map((value, at) =>
      Math.abs(value - expected.logProbs[2]![at]!),
    );
    expect(Math.max(...apart)).toBeGreaterThan(1e-3);
    await plain.dispose();
    await exiting.dispose();
    for (const buffer of resident.buffers.values()) await device.free(buffer);
  });
});

describe('quantiles', () => {
  const documents = fc.sample(documentArbitrary(5), { numRuns: 50, seed: 4 });
  const source = generatedSource({
    documents: (rng) => documents[Math.abs(rng.next()) % documents.length]!,
    ...SIZE,
    seed: 1,
  });
  const drawn = (settings: ExitSettings) => {
    const exiting = withExitQuantiles(source, settings);
    const batches = Array.from({ length: 60 }, (_, trainStep) => exiting.batchAt(trainStep, 0));
    return batches.map((batch, trainStep) => {
      expect(exiting.batchAt(trainStep, 0)).toEqual(batch);
      return { ...batch, quantiles: batch.extra![EXIT_QUANTILE.input.name]! };
    });
  };

  it('are one for each document, within the range for as many as should exit', () => {
    let [exit, all] = [0, 0];
    for (const { segments, quantiles } of drawn({ share: 0.6, from: 0.2, to: 0.4 })) {
      segments.forEach((segment, at) => {
        const isFirst = at % SIZE.length === 0 || segment !== segments[at - 1];
        if (!isFirst) return expect(quantiles[at]).toBe(quantiles[at - 1]);
        if (segment === 0) return undefined;
        all++;
        if (quantiles[at]! > 1) return undefined;
        exit++;
        expect(quantiles[at]).toBeGreaterThanOrEqual(Math.fround(0.2));
        return expect(quantiles[at]).toBeLessThanOrEqual(Math.fround(0.4));
      });
    }
    expect(all).toBeGreaterThan(200);
    // four deviations of a share of so many draws
    expect(Math.abs(exit / all - 0.6)).toBeLessThan(4 * Math.sqrt((0.6 * 0.4) / all));
  });

  it('of a range that is none are refused', () => {
    const parse = (exits: object) =>
      parseTrainConfig(
        { model: TINY, objective: { kind: 'stage-1', exits }, evaluateEvery: 1, data: {} },
        'the run',
      );
    expect(parse({})).toMatchObject({
      objective: { exits: { share: 0.75, from: 0.05, to: 0.9 } },
    });
    expect(() => parse({ from: 0.5, to: 0.4 })).toThrow(ConfigError);
    expect(() => parse({ from: 0.5, to: 0.4 })).toThrow(
      /objective\.exits.*from is not above its to/,
    );
  });
});
