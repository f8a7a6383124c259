/**
 * Snapshots: the whole state of a run in one safetensors file, with the run's config in its
 * metadata. Written under a temporary name and renamed, so there is always one good snapshot.
 */
import { z } from 'zod';
import { CheckpointError, ConfigError } from '../errors.js';
import type { ModelWeights } from '../model/index.js';
import { openSafetensors, safetensorsChunks } from '../runtime/safetensors.js';
import type { Folder } from '../util/folder.js';
import { quote } from '../util/quote.js';
import { describeDifferences } from './config-differences.js';
import type { TrainConfig } from './config.js';
import { optimizerOf } from './optimizers/index.js';
import { ownSpecs } from './run-parameters.js';
import type { Rollback } from './spikes.js';
import { rollbackSchema } from './spikes.js';
import type { RunParts, Stage } from './stages.js';
import { stagesOf, trainedSpecs } from './stages.js';

export const SNAPSHOT_FILE = 'snapshot.safetensors';

export interface Snapshot {
  /** Updates done. */
  readonly trainSteps: number;
  readonly weights: ModelWeights;
  /** What the optimizer keeps, by `SLOT:NAME`. */
  readonly slots: ReadonlyMap<string, Float32Array>;
  /** Spikes that the run went back for, so far. */
  readonly rollbacks: readonly Rollback[];
  /** Losses that the next one is compared with to find a spike. */
  readonly recentLosses: readonly number[];
  /** What a source that depends on the model keeps, as JSON. */
  readonly source?: unknown;
  /** Where it stands between the machines that train together; see parallel/. */
  readonly exchange?: ExchangeProgress | undefined;
}

const PARAM = 'param:';
/** What 8 bits of a delta could not say, kept beside the optimizer's slots. */
export const RESIDUAL = 'residual';

const exchangeSchema = z.strictObject({
  /** Round that the train steps were done in. */
  round: z.int(),
  /** Updates since the optimizer's slots were fresh. */
  optimizerSteps: z.int(),
  /** Of the round so far, over all sittings: the sum of its losses, and how long it took. */
  lossSum: z.number(),
  seconds: z.number(),
  /** Once the store has what the round came to: its object. */
  delta: z.string().optional(),
});
export type ExchangeProgress = Readonly<z.output<typeof exchangeSchema>>;

const progressSchema = z.strictObject({
  rollbacks: z.array(rollbackSchema),
  recentLosses: z.array(z.number()),
  source: z.unknown().optional(),
  exchange: exchangeSchema.optional(),
});

export async function writeSnapshot(
  folder: Folder,
  config: TrainConfig,
  { trainSteps, weights, slots, rollbacks, recentLosses, source, exchange }: Snapshot,
  parts: RunParts = {},
): Promise<void> {
  const shapes = tensorShapes(stageAt(config, trainSteps, parts), config);
  const tensors = [
    ...[...weights].map(([name, data]) => ({ name: `${PARAM}${name}`, data })),
    ...[...slots].map(([name, data]) => ({ name, data })),
  ].map(({ name, data }) => ({ name, shape: shapes.get(name)!, dtype: 'F32' as const, data }));
  const metadata = {
    trainSteps: String(trainSteps),
    config: JSON.stringify(config),
    progress: JSON.stringify({ rollbacks, recentLosses, source, exchange }),
  };
  await folder.write(SNAPSHOT_FILE, safetensorsChunks(tensors, metadata));
}

/** The stage that made a snapshot of so many train steps. */
export function stageAt(config: TrainConfig, trainSteps: number, parts: RunParts = {}): Stage {
  const stages = stagesOf(config, parts);
  const isMaker = (stage: Stage) => trainSteps <= stage.firstTrainStep + stage.trainSteps;
  return stages.find(isMaker) ?? stages.at(-1)!;
}

/** Shapes of all tensors of a snapshot: weights, and what the optimizer keeps of those it trains. */
function tensorShapes(
  stage: Stage,
  { outer }: TrainConfig,
): ReadonlyMap<string, readonly number[]> {
  const weights = ownSpecs(stage.model, stage.lora).map(
    ({ hfName, shape }) => [`${PARAM}${hfName}`, shape] as const,
  );
  const { slots } = optimizerOf(stage.optimizer);
  const kept = trainedSpecs(stage).flatMap((spec) =>
    [...slots(spec).map(({ name }) => name), ...(outer?.deltas === 'int8' ? [RESIDUAL] : [])].map(
      (name) => [`${name}:${spec.hfName}`, spec.shape] as const,
    ),
  );
  return new Map([...weights, ...kept]);
}

/**
 * The snapshot of a folder, undefined if it has none.
 *
 * @param parts - those that it was made with
 * @throws ConfigError if it belongs to a run with another config
 * @throws CheckpointError if it is damaged
 */
export async function readSnapshot(
  folder: Folder,
  config: TrainConfig,
  parts: RunParts = {},
): Promise<Snapshot | undefined> {
  if (!(await folder.exists(SNAPSHOT_FILE))) return undefined;
  const source = await folder.open(SNAPSHOT_FILE);
  try {
    const reader = await openSafetensors(source);
    checkConfig(folder, reader.metadata.get('config'), config);
    const trainSteps = trainStepsOf(folder, reader.metadata.get('trainSteps'));
    const shapes = tensorShapes(stageAt(config, trainSteps, parts), config);
    checkTensors(folder, shapes, reader.entries);
    const weights = new Map<string, Float32Array>();
    const slots = new Map<string, Float32Array>();
    for (const name of reader.entries.keys()) {
      const data = await reader.readFloat32(name);
      if (data.some((value) => !Number.isFinite(value))) {
        throw damaged(folder, `${name} holds values that are not finite`);
      }
      if (name.startsWith(PARAM)) weights.set(name.slice(PARAM.length), data);
      else slots.set(name, data);
    }
    const progress = progressOf(folder, reader.metadata.get('progress'));
    return { trainSteps, weights, slots, ...progress };
  } finally {
    await source.close();
  }
}

function damaged(folder: Folder, fault: string): CheckpointError {
  return new CheckpointError(
    `${folder.path}/${SNAPSHOT_FILE} is damaged: ${fault}. Delete it to start again.`,
  );
}

function trainStepsOf(folder: Folder, text: string | undefined): number {
  const trainSteps = Number(text ?? NaN);
  if (Number.isSafeInteger(trainSteps) && trainSteps >= 0) return trainSteps;
  throw damaged(folder, 'it does not say how many train steps it has');
}

/** How the run went; a snapshot that does not say has seen no spike. */
function progressOf(folder: Folder, text: string | undefined): z.output<typeof progressSchema> {
  if (text === undefined) return { rollbacks: [], recentLosses: [] };
  try {
    return progressSchema.parse(JSON.parse(text));
  } catch {
    throw damaged(folder, 'what it says of the run so far cannot be read');
  }
}

function checkTensors(
  folder: Folder,
  expected: ReadonlyMap<string, readonly number[]>,
  entries: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): void {
  for (const [name, shape] of expected) {
    if (entries.get(name)?.shape.join() !== shape.join()) {
      throw damaged(folder, `it lacks ${name} of shape [${shape.join()}]`);
    }
  }
  const extra = [...entries.keys()].find((name) => !expected.has(name));
  if (extra !== undefined) throw damaged(folder, `it holds ${quote(extra)}`);
}

function checkConfig(folder: Folder, saved: string | undefined, config: TrainConfig): void {
  const different = describeDifferences(parseSaved(folder, saved), config);
  if (!different) return;
  throw new ConfigError(
    different.first,
    `${folder.path} holds a snapshot of a run with other settings: ${different.text}. Use the settings of that run, or another folder for a new one.`,
  );
}

function parseSaved(folder: Folder, saved: string | undefined): unknown {
  try {
    return JSON.parse(saved ?? '');
  } catch {
    throw damaged(folder, 'it does not say of which run it is');
  }
}
