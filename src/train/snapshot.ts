/**
 * Snapshots: the whole state of a run in one safetensors file, with the run's config in its
 * metadata. Written under a temporary name and renamed, so there is always one good snapshot.
 */
import { z } from 'zod';
import { CheckpointError, ConfigError } from '../errors.js';
import type { ModelWeights } from '../model/index.js';
import { parameterSpecs } from '../model/index.js';
import { openSafetensors, safetensorsChunks } from '../runtime/safetensors.js';
import type { Folder } from '../util/folder.js';
import { quote, showValue } from '../util/quote.js';
import type { TrainConfig } from './config.js';
import { objectiveOf } from './objectives/index.js';
import { optimizerOf } from './optimizers/index.js';
import type { Rollback } from './spikes.js';
import { rollbackSchema } from './spikes.js';
import type { Stage } from './stages.js';
import { stagesOf } from './stages.js';
import { trainableSpecs } from './trainable.js';

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
}

const PARAM = 'param:';

const progressSchema = z.strictObject({
  rollbacks: z.array(rollbackSchema),
  recentLosses: z.array(z.number()),
});

export async function writeSnapshot(
  folder: Folder,
  config: TrainConfig,
  { trainSteps, weights, slots, rollbacks, recentLosses }: Snapshot,
): Promise<void> {
  const shapes = tensorShapes(stageAt(config, trainSteps));
  const tensors = [
    ...[...weights].map(([name, data]) => ({ name: `${PARAM}${name}`, data })),
    ...[...slots].map(([name, data]) => ({ name, data })),
  ].map(({ name, data }) => ({ name, shape: shapes.get(name)!, dtype: 'F32' as const, data }));
  const metadata = {
    trainSteps: String(trainSteps),
    config: JSON.stringify(config),
    progress: JSON.stringify({ rollbacks, recentLosses }),
  };
  await folder.write(SNAPSHOT_FILE, safetensorsChunks(tensors, metadata));
}

/** The stage that made a snapshot of so many train steps. */
function stageAt(config: TrainConfig, trainSteps: number): Stage {
  const stages = stagesOf(config);
  const isMaker = (stage: Stage) => trainSteps <= stage.firstTrainStep + stage.trainSteps;
  return stages.find(isMaker) ?? stages.at(-1)!;
}

/** Shapes of all tensors of a snapshot: weights, and what the optimizer keeps of those it trains. */
function tensorShapes({
  model,
  objective,
  optimizer,
  trained,
}: Stage): ReadonlyMap<string, readonly number[]> {
  const weights = parameterSpecs(model).map(
    ({ hfName, shape }) => [`${PARAM}${hfName}`, shape] as const,
  );
  const { slots } = optimizerOf(optimizer);
  const kept = trainableSpecs(model, trained ?? objectiveOf(objective).trains).flatMap((spec) =>
    slots(spec).map(({ name }) => [`${name}:${spec.hfName}`, spec.shape] as const),
  );
  return new Map([...weights, ...kept]);
}

/**
 * The snapshot of a folder, undefined if it has none.
 *
 * @throws ConfigError if it belongs to a run with another config
 * @throws CheckpointError if it is damaged
 */
export async function readSnapshot(
  folder: Folder,
  config: TrainConfig,
): Promise<Snapshot | undefined> {
  if (!(await folder.exists(SNAPSHOT_FILE))) return undefined;
  const source = await folder.open(SNAPSHOT_FILE);
  try {
    const reader = await openSafetensors(source);
    checkConfig(folder, reader.metadata.get('config'), config);
    const trainSteps = trainStepsOf(folder, reader.metadata.get('trainSteps'));
    checkTensors(folder, tensorShapes(stageAt(config, trainSteps)), reader.entries);
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
  const wanted: unknown = JSON.parse(JSON.stringify(config));
  const different = differences(parseSaved(folder, saved), wanted);
  const [first] = different;
  if (first === undefined) return;
  const shown = different
    .slice(0, MAX_SHOWN)
    .map((it) => `${it.path} was ${showSetting(it.saved)} and is ${showSetting(it.wanted)}`);
  const more = different.length > MAX_SHOWN ? ` and ${different.length - MAX_SHOWN} more` : '';
  throw new ConfigError(
    first.path,
    `${folder.path} holds a snapshot of a run with other settings: ${shown.join(', ')}${more}. Use the settings of that run, or another folder for a new one.`,
  );
}

/** Differences that are told one by one. */
const MAX_SHOWN = 5;

const showSetting = (value: unknown) => (value === undefined ? 'absent' : showValue(value));

function parseSaved(folder: Folder, saved: string | undefined): unknown {
  try {
    return JSON.parse(saved ?? '');
  } catch {
    throw damaged(folder, 'it does not say of which run it is');
  }
}

/** A setting that two runs do not share. */
interface Difference {
  readonly path: string;
  readonly saved: unknown;
  readonly wanted: unknown;
}

/** All places at which two JSON values differ. */
function differences(saved: unknown, wanted: unknown, path = ''): readonly Difference[] {
  if (
    typeof saved === 'object' &&
    typeof wanted === 'object' &&
    saved !== null &&
    wanted !== null
  ) {
    const [a, b] = [saved, wanted] as [Record<string, unknown>, Record<string, unknown>];
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
      differences(a[key], b[key], path ? `${path}.${key}` : key),
    );
  }
  return saved === wanted ? [] : [{ path, saved, wanted }];
}
