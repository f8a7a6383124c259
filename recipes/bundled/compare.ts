/**
 * Measures runs of the looped model, of its unlooped twin and of the iso-FLOP model on the same questions:
 * `node dist/recipes/bundled/compare.js RUN RUN ...`, the run folders in any order, of any seeds.
 *
 * Only one looped model is shipped, so the result is kept in models/bundled/comparison.json, from
 * which report.ts takes the figures. `--out FILE` names another place. Runs measured before keep their place
 * there, until one of the same variant and seed is measured.
 */
import { parseArgs } from 'node:util';
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
import { comparisonSchema, figuresToJson, readFigures } from './evaluation/figures.js';
import { accuracyCell, measureSets } from './evaluation/measure.js';
import { EVALUATION_SEED, questionSets } from './evaluation/question-sets.js';
import type { TrainedRun } from './run-folder.js';
import { readRun } from './run-folder.js';
import { runScript } from './script.js';
import { tokenizerJson } from './tokenizer.js';

const QUESTIONS_PER_DIFFICULTY = 100;
const COMPARED_KINDS = ['uniform', 'held-out-wording', 'held-out-start'] as const;
const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

type ComparedModel = Comparison['models'][number];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { out: { type: 'string', default: 'models/bundled/comparison.json' } },
    allowPositionals: true,
  });
  if (positionals.length === 0) {
    throw new ConfigError('runs', `Give the folders of runs, of ${VARIANTS.join(', ')}.`);
  }
  const models: ComparedModel[] = [];
  await using device = await createInlineDevice();
  for (const path of positionals) {
    models.push(await measureRun(device, await readRun(path)));
    console.log(`${path}: ${models.at(-1)!.variant} measured`);
  }
  const isMeasured = ({ variant, seed }: ComparedModel) =>
    models.some((model) => model.variant === variant && model.seed === seed);
  const before = (await fileExists(values.out))
    ? await readFigures(values.out, comparisonSchema)
    : undefined;
  models.push(...(before?.models ?? []).filter((model) => !isMeasured(model)));
  const order = ({ variant }: ComparedModel) => VARIANTS.indexOf(variant);
  models.sort((a, b) => order(a) - order(b) || a.seed - b.seed);
  await writeFileAtomic(values.out, figuresToJson({ seed: EVALUATION_SEED, models }));
  console.log(`Wrote ${values.out}.`);
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
