/**
 * Snapshots: the whole state of a run in one safetensors file, with the run's config in its
 * metadata. Written under a temporary name and renamed, so there is always one good snapshot.
 */
import { CheckpointError, ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { parameterSpecs } from '../model/index.js';
import { openSafetensors, safetensorsChunks } from '../runtime/safetensors.js';
import type { Folder } from '../util/folder.js';
import { quote, showValue } from '../util/quote.js';

export const SNAPSHOT_FILE = 'snapshot.safetensors';

export interface Snapshot {
  /** Updates done. */
  readonly trainSteps: number;
  readonly weights: ModelWeights;
  /** By `m:NAME` and `v:NAME`. */
  readonly moments: ReadonlyMap<string, Float32Array>;
}

const PARAM = 'param:';

/** Any run config: JSON that names the model. */
type RunConfig = { readonly model: LoopLMConfig };

export async function writeSnapshot(
  folder: Folder,
  config: RunConfig,
  { trainSteps, weights, moments }: Snapshot,
): Promise<void> {
  const shapes = new Map(parameterSpecs(config.model).map(({ hfName, shape }) => [hfName, shape]));
  const entry = (name: string, hfName: string, data: Float32Array) => ({
    name,
    shape: shapes.get(hfName)!,
    dtype: 'F32' as const,
    data,
  });
  const tensors = [
    ...[...weights].map(([name, data]) => entry(`${PARAM}${name}`, name, data)),
    ...[...moments].map(([name, data]) => entry(name, name.slice(2), data)),
  ];
  const metadata = { trainSteps: String(trainSteps), config: JSON.stringify(config) };
  await folder.write(SNAPSHOT_FILE, safetensorsChunks(tensors, metadata));
}

/**
 * The snapshot of a folder, undefined if it has none.
 *
 * @throws ConfigError if it belongs to a run with another config
 * @throws CheckpointError if it is damaged
 */
export async function readSnapshot(
  folder: Folder,
  config: RunConfig,
): Promise<Snapshot | undefined> {
  if (!(await folder.exists(SNAPSHOT_FILE))) return undefined;
  const source = await folder.open(SNAPSHOT_FILE);
  try {
    const reader = await openSafetensors(source);
    checkConfig(folder, reader.metadata.get('config'), config);
    checkTensors(folder, config, reader.entries);
    const weights = new Map<string, Float32Array>();
    const moments = new Map<string, Float32Array>();
    for (const name of reader.entries.keys()) {
      const data = await reader.readFloat32(name);
      if (data.some((value) => !Number.isFinite(value))) {
        throw damaged(folder, `${name} holds values that are not finite`);
      }
      if (name.startsWith(PARAM)) weights.set(name.slice(PARAM.length), data);
      else moments.set(name, data);
    }
    return {
      trainSteps: trainStepsOf(folder, reader.metadata.get('trainSteps')),
      weights,
      moments,
    };
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

/** Every weight must be there in its shape; moments come in pairs, for the weights that are trained. */
function checkTensors(
  folder: Folder,
  config: RunConfig,
  entries: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): void {
  const expected = new Map<string, string>();
  for (const { hfName, shape } of parameterSpecs(config.model)) {
    expected.set(`${PARAM}${hfName}`, shape.join());
    if (!entries.has(`m:${hfName}`) && !entries.has(`v:${hfName}`)) continue;
    expected.set(`m:${hfName}`, shape.join());
    expected.set(`v:${hfName}`, shape.join());
  }
  for (const [name, shape] of expected) {
    if (entries.get(name)?.shape.join() !== shape) {
      throw damaged(folder, `it lacks ${name} of shape [${shape}]`);
    }
  }
  const extra = [...entries.keys()].find((name) => !expected.has(name));
  if (extra !== undefined) throw damaged(folder, `it holds ${quote(extra)}`);
}

function checkConfig(folder: Folder, saved: string | undefined, config: RunConfig): void {
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
