import { describe, expect, it } from 'vitest';
import { FileError } from '../errors.js';
import { memoryFolder } from '../util/folder.js';
import type { MetricRecord } from './metrics.js';
import { METRICS_FILE, MetricLog, parseMetrics } from './metrics.js';

const record = (trainStep: number): MetricRecord => ({
  trainStep,
  loss: 1 / trainStep,
  lossPerLoop: [2, 1],
  accuracyPerLoop: [0.25, 0.5],
  meanExitPdf: [0.75, 0.25],
  entropy: 0.5,
  gradNorm: 3,
  countedTargets: 12,
  learningRate: 0.01,
  tokensPerSecond: 1000,
  memoryBytes: 1e6,
});

describe('metrics', () => {
  it('are read as they were written', async () => {
    const folder = memoryFolder('run', new Map());
    const log = await MetricLog.open(folder, undefined);
    log.add(record(1));
    log.addEvaluation(1, { accuracy: 0.5 });
    log.add(record(2));
    await log.flush();
    const evaluation = { trainStep: 1, evaluation: { accuracy: 0.5 } };
    const records = [record(1), evaluation, record(2)];
    expect(parseMetrics(await folder.readText(METRICS_FILE))).toEqual(records);
  });

  it('of a resumed run drop what came after its snapshot, and of a fresh run everything', async () => {
    for (const trainSteps of [0, 1, 3, 9]) {
      const folder = memoryFolder('run', new Map());
      const before = await MetricLog.open(folder, undefined);
      for (let trainStep = 1; trainStep <= 5; trainStep++) before.add(record(trainStep));
      await before.flush();
      const snapshot = trainSteps === 0 ? undefined : { trainSteps, rollbacks: [] };
      await (await MetricLog.open(folder, snapshot)).flush();
      const kept = parseMetrics(await folder.readText(METRICS_FILE));
      expect(kept).toEqual([1, 2, 3, 4, 5].filter((n) => n <= trainSteps).map(record));
    }
  });

  it('of a run that went back drop what it left, and keep of spikes those of the snapshot', async () => {
    const folder = memoryFolder('run', new Map());
    const log = await MetricLog.open(folder, undefined);
    const spike = { trainStep: 3, loss: 9, threshold: 2.5, backTo: 1 };
    for (const trainStep of [1, 2]) log.add(record(trainStep));
    log.goBack(spike);
    log.add(record(2));
    await log.flush();
    const all = [record(1), { trainStep: 1, rollback: spike }, record(2)];
    const read = async () => parseMetrics(await folder.readText(METRICS_FILE));
    expect(await read()).toEqual(all);
    // a snapshot from before the spike knows nothing of it, and will see it again
    for (const [rollbacks, kept] of [
      [[spike], all],
      [[], [record(1), record(2)]],
    ] as const) {
      const again = memoryFolder('again', new Map());
      await again.write(METRICS_FILE, await folder.readText(METRICS_FILE));
      await (await MetricLog.open(again, { trainSteps: 2, rollbacks })).flush();
      expect(parseMetrics(await again.readText(METRICS_FILE))).toEqual(kept);
    }
  });

  it.each(['{', '{"trainStep":1}', JSON.stringify({ ...record(1), extra: 1 }), 'null'])(
    'that are %s name the line',
    (line) => {
      const text = `${JSON.stringify(record(1))}\n${line}\n`;
      expect(() => parseMetrics(text)).toThrow(FileError);
      expect(() => parseMetrics(text)).toThrow(/^metrics\.jsonl line 2 is not a metrics record;/);
    },
  );
});
