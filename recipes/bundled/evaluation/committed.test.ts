/** The committed figures are what the code measures, and what texts and pictures say. */
import { existsSync, readFileSync } from 'node:fs';
import { Engine } from 'looplm/engine';
import { loadCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { METRICS_FILE, parseMetrics } from 'looplm/train';
import { expect, test } from 'vitest';
import type { z } from 'zod';
import { bundledCharts, comparedCharts, trainingCharts } from './charts.js';
import { COMPARISON_FILE, comparisonSchema, EVALUATION_FILE, evaluationSchema } from './figures.js';
import { replaceMarked } from './marked-text.js';
import { accuracyCell, measureSets } from './measure.js';
import { trainedDifficulties } from '../curriculum.js';
import { Scribe } from '../documents.js';
import { sums } from '../tasks/sums.js';
import { questionSets } from './question-sets.js';
import { QUANTIZATION_FILE, quantizationSchema } from './quantization-figures.js';
import { quantizationChart, quantizationTables } from './quantization-report.js';
import { streamFigures } from './streams.js';
import { evaluationTables, readmeTables } from './tables.js';

const pathOf = (path: string) => new URL(`../../../${path}`, import.meta.url);
const read = (path: string) => readFileSync(pathOf(path), 'utf8');
const figures = <Schema extends z.ZodType>(name: string, schema: Schema) =>
  schema.parse(JSON.parse(read(`models/bundled/${name}`)));

const evaluation = figures(EVALUATION_FILE, evaluationSchema);
const quantization = figures(QUANTIZATION_FILE, quantizationSchema);

const comparison = existsSync(pathOf(`models/bundled/${COMPARISON_FILE}`))
  ? figures(COMPARISON_FILE, comparisonSchema)
  : undefined;

test('the model card and the README say what the figures say', () => {
  const card = read('models/bundled/README.md');
  expect(replaceMarked(card, 'figures', evaluationTables(evaluation, comparison))).toBe(card);
  expect(replaceMarked(card, 'quantization', quantizationTables(quantization))).toBe(card);
  const readme = read('README.md');
  expect(replaceMarked(readme, 'bundled figures', readmeTables(evaluation, comparison))).toBe(
    readme,
  );
});

test('the pictures show the figures', () => {
  const pictures = {
    ...bundledCharts(evaluation),
    ...(comparison && comparedCharts(comparison)),
    'quantization.svg': quantizationChart(quantization),
    ...trainingCharts(parseMetrics(read(`models/bundled/${METRICS_FILE}`))),
  };
  for (const [name, svg] of Object.entries(pictures)) expect(read(`docs/images/${name}`)).toBe(svg);
});

test('some of the figures, measured again, are the committed ones', async () => {
  const folder = nodeFolder(decodeURIComponent(pathOf('models/bundled').pathname));
  const { config, weights } = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  await using device = await createInlineDevice({ numThreads: 1 });
  await using engine = await Engine.create({ device, config, weights });
  const { questionsPerDifficulty, streamedPerDifficulty } = evaluation.provenance;
  const scribe = new Scribe((text) => tokenizer.encode(text));
  const sets = questionSets(scribe, questionsPerDifficulty, ['uniform']);

  const most = trainedDifficulties(sums).at(-1)!;
  const hardest = sets.filter(({ task, difficulty }) => task === sums.name && difficulty === most);
  const [cell] = (await measureSets(engine, hardest)).map(accuracyCell);
  const committed = evaluation.trained.find(
    ({ task, difficulty }) => task === sums.name && difficulty === most,
  )!;
  expect(cell!.n).toBe(committed.n);
  cell!.accuracyByDepth.forEach((accuracy, loopIndex) => {
    // another processor may round two nearly tied answers the other way
    const difference = Math.abs(accuracy - committed.accuracyByDepth[loopIndex]!);
    expect(difference).toBeLessThan(2.5 / committed.n);
  });

  const few = sets.map((set) => ({
    ...set,
    questions: set.questions.slice(0, streamedPerDifficulty),
  }));
  const drawn = await streamFigures(
    engine,
    few,
    { policy: 'sampled' },
    {
      kvPolicy: 'per-loop',
      prefill: 'full',
    },
  );
  const expected = evaluation.streams.find(
    ({ policy, kvPolicy }) => policy === 'sampled' && kvPolicy === 'per-loop',
  )!;
  // other draws of 367 exits move it by 0.05
  expect(Math.abs(drawn.meanDepth - expected.meanDepth)).toBeLessThan(0.015);
});
