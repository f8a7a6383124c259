/**
 * Measures the looped model, its unlooped twin and the iso-FLOP model on the same held-out problems:
 * `node dist/recipes/bundled/compare.js RUN RUN RUN`, the run folders in any order.
 *
 * Only the looped model is shipped, so the result is kept in models/bundled/comparison.json, from
 * which report.ts takes the figures. `--out FILE` names another place.
 */
import { parseArgs } from 'node:util';
import { Engine } from 'looplm/engine';
import { ConfigError } from 'looplm/errors';
import type { Folder, LoopLMConfig, ModelWeights } from 'looplm/model';
import { modelCost } from 'looplm/model';
import { nodeFolder, writeFileAtomic } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice, openSafetensors } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import type { TrainConfig } from 'looplm/train';
import { microBatchesBefore, readSnapshot, SNAPSHOT_FILE } from 'looplm/train';
import { bundledModelConfig, LENGTH, ROWS, VARIANTS } from './configs.js';
import type { Comparison } from './evaluation/figures.js';
import { figuresToJson } from './evaluation/figures.js';
import { accuracyCell, measureSets } from './evaluation/measure.js';
import { EVALUATION_SEED, trainedSets } from './evaluation/problem-sets.js';
import { bundledTokenizerJson } from './tokenizer.js';
import { runScript } from './script.js';

const PROBLEMS_PER_DIFFICULTY = 200;
const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

type ComparedModel = Comparison['models'][number];

/** A trained model as its run folder holds it. */
interface Run {
  readonly config: TrainConfig;
  readonly weights: ModelWeights;
  readonly trainSteps: number;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { out: { type: 'string', default: 'models/bundled/comparison.json' } },
    allowPositionals: true,
  });
  if (positionals.length !== VARIANTS.length) {
    throw new ConfigError(
      'runs',
      `Got ${positionals.length} run folders; give ${VARIANTS.length}: those of ${VARIANTS.join(', ')}.`,
    );
  }
  const models: ComparedModel[] = [];
  await using device = await createInlineDevice();
  for (const path of positionals) {
    models.push(await measureRun(device, await readRun(nodeFolder(path))));
    console.log(`${path}: ${models.at(-1)!.variant} measured`);
  }
  const order = VARIANTS.map((name) => models.filter(({ variant }) => variant === name));
  const missing = VARIANTS.filter((_, index) => order[index]!.length !== 1);
  if (missing.length > 0) {
    throw new ConfigError(
      'runs',
      `The run folders hold not exactly one model of each kind (${missing.join(', ')}); give one of each.`,
    );
  }
  await writeFileAtomic(values.out, figuresToJson({ seed: EVALUATION_SEED, models: order.flat() }));
  console.log(`Wrote ${values.out}.`);
}

async function readRun(folder: Folder): Promise<Run> {
  const source = await folder.open(SNAPSHOT_FILE);
  let config: TrainConfig | null;
  try {
    const { metadata } = await openSafetensors(source);
    config = JSON.parse(metadata.get('config') ?? 'null') as TrainConfig | null;
  } finally {
    await source.close();
  }
  const snapshot = config && (await readSnapshot(folder, config));
  if (!config || !snapshot) {
    throw new ConfigError(
      'runs',
      `${folder.path} holds no snapshot of a training run; train first.`,
    );
  }
  return { config, weights: snapshot.weights, trainSteps: snapshot.trainSteps };
}

async function measureRun(
  device: Device,
  { config, weights, trainSteps }: Run,
): Promise<ComparedModel> {
  const { model } = config;
  const tokenizer = Tokenizer.fromJson(bundledTokenizerJson());
  const sets = trainedSets((text) => tokenizer.encode(text), PROBLEMS_PER_DIFFICULTY);
  await using engine = await Engine.create({ device, config: model, weights });
  const measured = await measureSets(engine, sets);
  const { parameters, byDepth } = modelCost(model, COST);
  return {
    variant: variantOf(model),
    parameters: parameters.total,
    numHiddenLayers: model.numHiddenLayers,
    numLoops: model.numLoops,
    flopsPerToken: byDepth.at(-1)!.flopsPerToken,
    trainSteps,
    tokens: microBatchesBefore(config, trainSteps) * ROWS * LENGTH,
    cells: measured.map((set) => {
      const { task, difficulty, n, accuracyByDepth } = accuracyCell(set);
      return { task, difficulty, n, accuracy: accuracyByDepth.at(-1)! };
    }),
  };
}

function variantOf({ numLoops, numHiddenLayers }: LoopLMConfig): ComparedModel['variant'] {
  if (numLoops > 1) return 'looped';
  return numHiddenLayers === bundledModelConfig(1, 'twin').numHiddenLayers ? 'twin' : 'iso-flop';
}

await runScript(main);
