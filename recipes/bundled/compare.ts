/**
 * Measures runs of other models on the questions of the shipped one, and the shipped one beside them:
 * `node dist/recipes/bundled/compare.js RUN RUN ...`, folders of runs of the twin, of the iso-FLOP model or
 * of the looped model with other seeds, in any order.
 *
 * The result is kept in models/bundled/comparison.json, from which report.ts takes the figures.
 * `--model FOLDER` and `--out FILE` name other places. Runs measured before keep their place there, until one of the
 * same variant and seed is measured or another model is shipped.
 */
import { join } from 'node:path';
import { Engine } from 'looplm/engine';
import { ConfigError } from 'looplm/errors';
import type { LoopLMConfig } from 'looplm/model';
import { modelCost } from 'looplm/model';
import { fileExists, writeFileAtomic } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { microBatchesBefore } from 'looplm/train';
import { LENGTH, ROWS, VARIANTS, modelConfig } from './configs.js';
import { Scribe } from './documents.js';
import type { Comparison } from './evaluation/figures.js';
import {
  COMPARISON_FILE,
  comparisonSchema,
  figuresToJson,
  readFigures,
} from './evaluation/figures.js';
import { accuracyCell, measureSets } from './evaluation/measure.js';
import { EVALUATION_SEED, questionSets } from './evaluation/question-sets.js';
import type { TrainedRun } from './run-folder.js';
import { readRun, readShipped } from './run-folder.js';
import { readArguments, runScript } from '../run-script.js';
import { sha256Of } from './script.js';
import { tokenizerJson } from './tokenizer.js';

const QUESTIONS_PER_DIFFICULTY = 100;
const COMPARED_KINDS = ['uniform', 'held-out-wording', 'held-out-start'] as const;
const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

type ComparedModel = Comparison['models'][number];

async function main(): Promise<void> {
  const { values, positionals } = readArguments({
    options: {
      model: { type: 'string', default: 'models/bundled' },
      out: { type: 'string' },
    },
    allowPositionals: true,
  });
  if (positionals.length === 0) {
    throw new ConfigError('runs', `Give the folders of runs, of ${VARIANTS.join(', ')}.`);
  }
  const out = values.out ?? join(values.model, COMPARISON_FILE);
  const sha256 = await sha256Of(join(values.model, 'model.safetensors'));
  const models: ComparedModel[] = [];
  await using device = await createInlineDevice();
  const measure = async (path: string, run: TrainedRun) => {
    models.push(await measureRun(device, run));
    console.log(`${path}: ${models.at(-1)!.variant}, seed ${run.config.seed}, measured`);
  };
  await measure(values.model, await readShipped(values.model));
  for (const path of positionals) await measure(path, await readRun(path));
  models.push(
    ...(await measuredBefore(out, sha256)).filter(
      ({ variant, seed }) =>
        !models.some((model) => model.variant === variant && model.seed === seed),
    ),
  );
  const order = ({ variant }: ComparedModel) => VARIANTS.indexOf(variant);
  models.sort((a, b) => order(a) - order(b) || a.seed - b.seed);
  await writeFileAtomic(out, figuresToJson({ seed: EVALUATION_SEED, sha256, models }));
  console.log(`Wrote ${out}.`);
}

/** Figures that still stand beside the shipped model. */
async function measuredBefore(path: string, sha256: string): Promise<readonly ComparedModel[]> {
  if (!(await fileExists(path))) return [];
  const before = await readFigures(path, comparisonSchema);
  if (before.sha256 === sha256 && before.seed === EVALUATION_SEED) return before.models;
  console.log(`${path} was measured beside another model or with other questions; it begins anew.`);
  return [];
}

async function measureRun(
  device: Device,
  { config, weights, trainSteps }: TrainedRun,
): Promise<ComparedModel> {
  const { model, seed } = config;
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const scribe = new Scribe((text) => tokenizer.encode(text));
  const sets = questionSets(scribe, QUESTIONS_PER_DIFFICULTY, COMPARED_KINDS);
  await using engine = await Engine.create({ device, config: model, weights });
  const measured = await measureSets(engine, sets);
  const { parameters, byDepth } = modelCost(model, COST);
  return {
    variant: variantOf(model),
    seed,
    parameters: parameters.total,
    numHiddenLayers: model.numHiddenLayers,
    numLoops: model.numLoops,
    flopsPerToken: byDepth.at(-1)!.flopsPerToken,
    trainSteps,
    tokens: microBatchesBefore(config, trainSteps) * ROWS * LENGTH,
    cells: measured.map((set) => {
      const { kind, task, difficulty, n, accuracyByDepth } = accuracyCell(set);
      return { kind, task, difficulty, n, accuracy: accuracyByDepth.at(-1)! };
    }),
  };
}

function variantOf({ numLoops, numHiddenLayers }: LoopLMConfig): ComparedModel['variant'] {
  if (numLoops > 1) return 'looped';
  return numHiddenLayers === modelConfig(1, 'twin').numHiddenLayers ? 'twin' : 'iso-flop';
}

await runScript(main);
