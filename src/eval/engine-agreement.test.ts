/** Readings and everything worked out from them equal what the engine does token by token. */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TrainingDocument } from '../data/index.js';
import { generatorFor, IGNORED_TARGET } from '../data/index.js';
import type { ExitPolicy } from '../engine/index.js';
import { Engine, parseExitPolicy, parseSamplingOptions } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { initializeWeights, parameterSpecs } from '../model/index.js';
import type { Device } from '../runtime/index.js';
import { createInlineDevice } from '../runtime/index.js';
import type { PolicyFamily } from './frontier.js';
import { frontier } from './frontier.js';
import type { LoopReadings } from './readings.js';
import { readLoops } from './readings.js';
import { streamAccuracy } from './stream-accuracy.js';
import { lossByDepth } from './text-loss.js';

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
  const options = () => ({ device, config: CONFIG, weights, rows: 3, length: 12 });
  beforeAll(async () => {
    device = await createInlineDevice({ numThreads: 1 });
    engine = await Engine.create({ device, config: CONFIG, weights });
    readings = await readLoops(options(), documents);
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
    const all = await readLoops({ ...options(), numLoops }, documents);
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

  test('the size of the batch changes nothing', async () => {
    const others = await readLoops({ ...options(), rows: 1, length: 30 }, documents);
    others.forEach((other, index) => {
      other.loops.forEach((loop, loopIndex) => {
        const same = readings[index]!.loops[loopIndex]!;
        expect(loop.gateLogit).toBeCloseTo(same.gateLogit, 4);
        expect(loop.tokenId).toBe(same.tokenId);
      });
    });
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

  test('loss by depth is the mean loss of the readings', async () => {
    const { countedTargets, lossByDepth: losses } = await lossByDepth(options(), documents);
    expect(countedTargets).toBe(readings.length);
    losses.forEach((loss, loopIndex) => {
      const sum = readings.reduce((total, { loops }) => total + loops[loopIndex]!.loss, 0);
      expect(loss).toBeCloseTo(sum / readings.length, 6);
    });
  });

  test('a document longer than a row is refused, or cut on request', async () => {
    const long = { ids: new Int32Array(20), targets: new Int32Array(20).fill(1) };
    await expect(readLoops(options(), [long])).rejects.toThrow(ConfigError);
    const cut = await readLoops({ ...options(), split: true }, [long]);
    expect(cut.map(({ position }) => position)).toEqual(Array.from(long.ids, (_, index) => index));
  });

  test('reading leaves nothing on the device', async () => {
    const before = await device.stats();
    await readLoops(options(), documents);
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
  }));
  const exits: { exitDepth: number; tokenId: number }[] = [];
  for await (const event of engine.generate(requests, { prefill: 'deferred' })) {
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
