/**
 * Writes the measured figures into the texts that state them, the model card and the README, and draws
 * the pictures of docs/images again.
 *
 * `node dist/recipes/bundled/report.js` reads evaluation.json, comparison.json, quantization.json and
 * metrics.jsonl of models/bundled and replaces what stands between the markers, so that no number is typed by hand. Where
 * there is no comparison.json the columns of the compared models are left out.
 */
import { join } from 'node:path';
import { FileError } from 'looplm/errors';
import { fileExists, readTextFile, writeFileAtomic } from 'looplm/node';
import { METRICS_FILE, parseMetrics } from 'looplm/train';
import { bundledCharts, comparedCharts, trainingCharts } from './evaluation/charts.js';
import {
  COMPARISON_FILE,
  comparisonSchema,
  EVALUATION_FILE,
  evaluationSchema,
  readFigures,
} from './evaluation/figures.js';
import { replaceMarked } from './evaluation/marked-text.js';
import { QUANTIZATION_FILE, quantizationSchema } from './evaluation/quantization-figures.js';
import { quantizationChart, quantizationTables } from './evaluation/quantization-report.js';
import { evaluationTables, readmeTables } from './evaluation/tables.js';
import { readArguments, runScript } from '../run-script.js';

const MODEL_FOLDER = 'models/bundled';
const IMAGES_FOLDER = 'docs/images';

async function main(): Promise<void> {
  readArguments({});
  const evaluation = await readFigures(join(MODEL_FOLDER, EVALUATION_FILE), evaluationSchema);
  const comparisonPath = join(MODEL_FOLDER, COMPARISON_FILE);
  const comparison = (await fileExists(comparisonPath))
    ? await readFigures(comparisonPath, comparisonSchema)
    : undefined;
  await update(
    join(MODEL_FOLDER, 'README.md'),
    'figures',
    evaluationTables(evaluation, comparison),
  );
  await update('README.md', 'bundled figures', readmeTables(evaluation, comparison));
  await draw(bundledCharts(evaluation));
  if (comparison) await draw(comparedCharts(comparison));
  const records = parseMetrics(await readTextFile(join(MODEL_FOLDER, METRICS_FILE)));
  await draw(trainingCharts(records));
  const quantizationPath = join(MODEL_FOLDER, QUANTIZATION_FILE);
  if (!(await fileExists(quantizationPath))) return;
  const quantization = await readFigures(quantizationPath, quantizationSchema);
  await update(join(MODEL_FOLDER, 'README.md'), 'quantization', quantizationTables(quantization));
  await draw({ 'quantization.svg': quantizationChart(quantization) });
}

/** Writes SVG texts by file name. */
async function draw(pictures: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, svg] of Object.entries(pictures)) {
    const path = join(IMAGES_FOLDER, name);
    await writeFileAtomic(path, svg);
    console.log(`Drew ${path}.`);
  }
}

async function update(path: string, marker: string, content: string): Promise<void> {
  const text = replaceMarked(await readTextFile(path), marker, content);
  if (text === undefined) {
    throw new FileError(
      path,
      `${path} lacks the lines <!-- ${marker} --> and <!-- /${marker} -->; add them where the figures belong.`,
    );
  }
  await writeFileAtomic(path, text);
  console.log(`Updated ${path}.`);
}

await runScript(main);
