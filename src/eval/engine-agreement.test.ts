/** Readings and everything worked out from them equal what the engine does token by token. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TrainingDocument } from '../data/index.js';
import { generatorFor, IGNORED_TARGET } from '../data/index.js';
import type { ExitPolicy } from '../engine/index.js';
import { Engine, parseExitPolicy, parseSamplingOptions } from '../engine/index.js';
import { CapacityError, ConfigError, ShapeError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { initializeWeights, parameterSpecs } from '../model/index.js';
import type { Device } from '../runtime/index.js';
import { createInlineDevice } from '../runtime/index.js';
import type { DepthFigures } from './depth-figures.js';
import { depthFigures } from './depth-figures.js';
import type { PolicyFamily } from './frontier.js';
import { frontier } from './frontier.js';
import type { LoopReadings } from './readings.js';
import { readLoops } from './readings.js';
import { streamAccuracy } from './stream-accuracy.js';

const CONFIG: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  headDim: 8,
  vocabSize: 11,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 64,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  bosTokenId: 0,
  eosTokenIds: [0],
  padTokenId: 0,
};
const SEED = 5;

/** Fresh weights whose gate is not zero, so that tokens exit at different depths. */
function weightsWithGate(): ModelWeights {
  const weights = new Map(initializeWeights(CONFIG, SEED, { matrixStd: 'fanIn', embeddingStd: 1 }));
  const rng = generatorFor(SEED);
  for (const { hfName, kind } of parameterSpecs(CONFIG)) {
    if (kind !== 'gateWeight') continue;
    weights.set(
      hfName,
      Float32Array.from({ length: 16 }, () => uniformInt(rng, -9, 9) / 12),
    );
  }
  return weights;
}

/** Sequences of 3 to 9 tokens; each position has a label, except the first. */
function drawDocuments(): TrainingDocument[] {
  const rng = generatorFor(SEED, 1);
  return Array.from({ length: 12 }, () => {
    const ids = Array.from({ length: uniformInt(rng, 3, 9) }, () => uniformInt(rng, 0, 10));
    const targets = ids.map((_, index) => (index === 0 ? IGNORED_TARGET : uniformInt(rng, 0, 10)));
    return { ids, targets };
  });
}

describe('readings of a model with four loops', () => {
  const weights = weightsWithGate();
  const documents = drawDocuments();
  let device: Device;
  let engine: Engine;
  let readings: LoopReadings[];
  beforeAll(async () => {
    device = await createInlineDevice({ numThreads: 1 });
    engine = await Engine.create({ device, config: CONFIG, weights });
    readings = await readLoops(engine, documents);
  });
  afterAll(async () => {
    await engine.dispose();
    await device.dispose();
  });

  test('every labelled position is read once, in order', () => {
    const labels = documents.flatMap(({ targets }, documentIndex) =>
      Array.from(targets, (targetId, position) => ({ documentIndex, position, targetId })).filter(
        ({ targetId }) => targetId >= 0,
      ),
    );
    expect(
      readings.map(({ documentIndex, position, targetId }) => ({
        documentIndex,
        position,
        targetId,
      })),
    ).toEqual(labels);
  });

  test.each([4, 6])('%d loops equal the trace of each document alone', async (numLoops) => {
    const all = await readLoops(engine, documents, { numLoops });
    for (const [documentIndex, { ids }] of documents.entries()) {
      const trace = await engine.trace([...ids], { numLoops });
      const ofDocument = all.filter((reading) => reading.documentIndex === documentIndex);
      for (const { position, targetId, loops } of ofDocument) {
        const row = (values: Float32Array, loopIndex: number, width: number) => {
          const start = (loopIndex * ids.length + position) * width;
          return values.subarray(start, start + width);
        };
        expect(loops).toHaveLength(numLoops);
        loops.forEach((loop, loopIndex) => {
          const probs = softmax(row(trace.logits, loopIndex, CONFIG.vocabSize));
          expect(loop.gateLogit).toBeCloseTo(row(trace.gateLogits!, loopIndex, 1)[0]!, 4);
          expect(loop.topProb).toBeCloseTo(Math.max(...probs), 5);
          expect(loop.tokenId).toBe(probs.indexOf(Math.max(...probs)));
          expect(loop.isCorrect).toBe(loop.tokenId === targetId);
          expect(loop.loss).toBeCloseTo(-Math.log(probs[targetId]!), 4);
          if (loopIndex === 0) {
            expect([loop.stateDelta, loop.kl]).toEqual([Infinity, Infinity]);
            return;
          }
          const before = softmax(row(trace.logits, loopIndex - 1, CONFIG.vocabSize));
          const kl = probs.reduce((sum, p, id) => sum + p * Math.log(p / before[id]!), 0);
          const h = row(trace.hidden, loopIndex, CONFIG.hiddenSize);
          const previous = row(trace.hidden, loopIndex - 1, CONFIG.hiddenSize);
          const change = norm(h.map((value, index) => value - previous[index]!));
          expect(loop.kl).toBeCloseTo(kl, 4);
          expect(loop.stateDelta).toBeCloseTo(change / norm(previous), 4);
        });
      }
    }
  });

  const POLICIES: readonly (readonly [PolicyFamily, number])[] = [
    ['fixed', 1],
    ['fixed', 3],
    ['cdf', 0.4],
    ['cdf', 0.8],
    ['cdf', 1],
    ['delta', 0.35],
    ['kl', 0.05],
    ['confidence', 0.4],
    ['confidence', 1],
  ];
  test.each(POLICIES)('%s at %d gives the depths and answers of real runs', async (family, at) => {
    const policy = parseExitPolicy(`${family}:${at}`);
    const exits = await realExits(engine, documents, readings, policy);
    // One position to a group: the point of a position alone shows its depth and its answer.
    for (const [index, reading] of readings.entries()) {
      const [point] = frontier([[reading]], family, [at]);
      const { exitDepth, tokenId } = exits[index]!;
      expect(point).toMatchObject({
        meanDepth: exitDepth,
        accuracy: Number(tokenId === reading.targetId),
      });
    }
    const depths = new Set(exits.map(({ exitDepth }) => exitDepth));
    if (at < 1 && family !== 'fixed') expect(depths.size).toBeGreaterThan(1);
  });

  const streamed = () => documents.map((document) => ({ ...document, promptLength: 2 }));

  test.each(POLICIES)('streamed per-loop with %s at %d agrees too', async (family, at) => {
    const exitPolicy = parseExitPolicy(`${family}:${at}`);
    const { answers } = await streamAccuracy(engine, streamed(), {
      exitPolicy,
      kvPolicy: 'per-loop',
      prefill: 'deferred',
      batchSize: 5,
    });
    expect(answers).toHaveLength(readings.length);
    for (const [index, { documentIndex, position, ...answer }] of answers.entries()) {
      const reading = readings[index]!;
      expect([documentIndex, position]).toEqual([reading.documentIndex, reading.position]);
      const [point] = frontier([[reading]], family, [at]);
      const { exitDepth, isCorrect } = answer;
      expect(point).toMatchObject({ meanDepth: exitDepth, accuracy: Number(isCorrect) });
    }
  });

  test('at full depth last-exited gives the answers of per-loop, and all loops are run', async () => {
    const atFullDepth = { exitPolicy: parseExitPolicy('full') };
    const exact = await streamAccuracy(engine, streamed(), {
      ...atFullDepth,
      kvPolicy: 'per-loop',
    });
    const other = await streamAccuracy(engine, streamed(), {
      ...atFullDepth,
      kvPolicy: 'last-exited',
    });
    expect(other).toEqual(exact);
    expect(exact.executedLoops).toBe(exact.fullDepthLoops);
  });

  test('early exits under last-exited and shared compute fewer loops than full depth', async () => {
    for (const kvPolicy of ['last-exited', 'shared'] as const) {
      const exitPolicy = parseExitPolicy('fixed:2');
      const result = await streamAccuracy(engine, streamed(), { exitPolicy, kvPolicy });
      const promptTokens = 2 * documents.length;
      const allTokens = documents.reduce((sum, { ids }) => sum + ids.length, 0);
      expect(result.executedLoops).toBe(4 * promptTokens + 2 * (allTokens - promptTokens));
      expect(result.fullDepthLoops).toBe(4 * allTokens);
    }
  });

  test('a label inside the prompt is refused', async () => {
    const inside = documents.map((document) => ({ ...document, promptLength: 3 }));
    const running = streamAccuracy(engine, inside, {
      exitPolicy: parseExitPolicy('full'),
      kvPolicy: 'shared',
    });
    await expect(running).rejects.toThrow(ConfigError);
  });

  test('sampled gives the mean of many real draws', async () => {
    const [reading] = readings;
    const { ids } = documents[reading!.documentIndex]!;
    const numDraws = 400;
    const requests = Array.from({ length: numDraws }, (_, seed) => ({
      promptIds: [...ids].slice(0, reading!.position + 1),
      maxNewTokens: 1,
      exitPolicy: parseExitPolicy('sampled'),
      sampling: parseSamplingOptions({ seed }),
    }));
    let total = 0;
    for await (const event of engine.generate(requests)) {
      if (event.kind === 'token') total += event.exitDepth;
    }
    const [point] = frontier([[reading!]], 'sampled');
    // Depths lie in 1..4, so the mean of n draws has a standard error of at most 1.5 / sqrt(n).
    expect(Math.abs(total / numDraws - point!.meanDepth)).toBeLessThan((4 * 1.5) / numDraws ** 0.5);
  });

  test('figures of a set equal those of each document alone, whatever the order and the company', async () => {
    const exitThreshold = 0.5;
    const alone = new Map<TrainingDocument, DepthFigures>();
    for (const document of documents) {
      const [figures] = await depthFigures(engine, [[document]], { exitThreshold });
      alone.set(document, figures!);
    }
    const rng = generatorFor(SEED, 2);
    for (let run = 0; run < 6; run++) {
      const drawn = Array.from({ length: 14 }, () => documents[uniformInt(rng, 0, 11)]!);
      const cut = uniformInt(rng, 0, 14);
      const sets = [drawn.slice(0, cut), drawn.slice(cut)];
      const together = await depthFigures(engine, sets, { exitThreshold });
      sets.forEach((set, index) => {
        const labels = set.reduce((sum, one) => sum + alone.get(one)!.labels, 0);
        const mean = (valueOf: (figures: DepthFigures) => number) =>
          set.reduce((sum, one) => sum + alone.get(one)!.labels * valueOf(alone.get(one)!), 0) /
          labels;
        const { accuracyByDepth, lossByDepth, exit, ...counts } = together[index]!;
        expect(counts).toEqual({ labels });
        if (labels === 0) return;
        for (let loopIndex = 0; loopIndex < CONFIG.numLoops; loopIndex++) {
          expect(accuracyByDepth[loopIndex]).toBeCloseTo(
            mean((figures) => figures.accuracyByDepth[loopIndex]!),
            12,
          );
          expect(lossByDepth[loopIndex]).toBeCloseTo(
            mean((figures) => figures.lossByDepth[loopIndex]!),
            12,
          );
        }
        expect(exit.accuracy).toBeCloseTo(
          mean((figures) => figures.exit.accuracy),
          12,
        );
        expect(exit.meanDepth).toBeCloseTo(
          mean((figures) => figures.exit.meanDepth),
          12,
        );
      });
    }
  });

  test('a document has the same readings, bit for bit, in any company', async () => {
    const reversed = await readLoops(engine, documents.toReversed());
    for (const reading of readings) {
      const documentIndex = documents.length - 1 - reading.documentIndex;
      expect(reversed).toContainEqual({ ...reading, documentIndex });
    }
  });

  test('documents that cannot be read are refused by name before anything is computed', async () => {
    const executed = engine.numExecuted;
    const long = { ids: new Int32Array(65), targets: new Int32Array(65).fill(1) };
    const read = (document: TrainingDocument) => readLoops(engine, [documents[0]!, document]);
    await expect(read(long)).rejects.toThrow(CapacityError);
    await expect(read(long)).rejects.toThrow(/documents\[1\] has 65 tokens.* 64.*[Cc]ut/);
    await expect(read({ ids: [], targets: [] })).rejects.toThrow(ShapeError);
    await expect(read({ ids: [1, 2], targets: [1] })).rejects.toThrow(/2 ids and 1 targets/);
    await expect(read({ ids: [1], targets: [11] })).rejects.toThrow(/target 11.*0\.\.10/);
    await expect(readLoops(engine, documents, { numLoops: 0 })).rejects.toThrow(/numLoops is 0/);
    expect(engine.numExecuted).toBe(executed);
  });

  test('progress counts the loops that are run, and ends at their number', async () => {
    const shown: [number, number][] = [];
    const before = engine.numExecuted;
    const unlabelled = { ids: [1, 2], targets: [-100, -100] };
    await readLoops(engine, [unlabelled, ...documents], {
      onProgress: (done, total) => shown.push([done, total]),
    });
    const total = 4 * documents.reduce((sum, { ids }) => sum + ids.length, 0);
    expect(shown.map(([, all]) => all)).toEqual(shown.map(() => total));
    const done = shown.map(([count]) => count);
    expect(done).toEqual(done.toSorted((a, b) => a - b));
    expect(done.at(-1)).toBe(total);
    expect(engine.numExecuted - before).toBe(total);
  });

  test('a signal ends the reading within a batch of documents, and leaves nothing behind', async () => {
    const before = await device.stats();
    const controller = new AbortController();
    const reason = new Error('enough');
    const onProgress = () => controller.abort(reason);
    const executed = engine.numExecuted;
    const reading = readLoops(engine, documents, { signal: controller.signal, onProgress });
    await expect(reading).rejects.toBe(reason);
    const longestBatch = documents.slice(0, 8).reduce((sum, { ids }) => sum + ids.length, 0);
    expect(engine.numExecuted - executed).toBeLessThanOrEqual(longestBatch);
    expect(await device.stats()).toEqual(before);
  });

  test('reading leaves nothing on the device', async () => {
    const before = await device.stats();
    await readLoops(engine, documents);
    expect(await device.stats()).toEqual(before);
  });
});

/** Runs each labelled prefix as a prompt of its own, loops of its tokens deferred. */
async function realExits(
  engine: Engine,
  documents: readonly TrainingDocument[],
  readings: readonly LoopReadings[],
  exitPolicy: ExitPolicy,
): Promise<{ exitDepth: number; tokenId: number }[]> {
  const requests = readings.map(({ documentIndex, position }) => ({
    promptIds: [...documents[documentIndex]!.ids].slice(0, position + 1),
    maxNewTokens: 1,
    exitPolicy,
    sampling: parseSamplingOptions({}),
    prefill: 'deferred' as const,
  }));
  const exits: { exitDepth: number; tokenId: number }[] = [];
  for await (const event of engine.generate(requests)) {
    if (event.kind === 'token') exits[event.requestIndex] = event;
  }
  return exits;
}

function softmax(row: Float32Array): number[] {
  const exps = Array.from(row, (value) => Math.exp(value - Math.max(...row)));
  const total = exps.reduce((sum, value) => sum + value, 0);
  return exps.map((value) => value / total);
}

function norm(row: Float32Array): number {
  return Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
}
