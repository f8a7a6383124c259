/** The exit gates of stage II, trained for the start on the problems of reinforcement learning. */
import { generatedSource } from 'looplm/data';
import type { Folder, ModelWeights } from 'looplm/model';
import type { Device } from 'looplm/runtime';
import type { MetricRecord } from 'looplm/train';
import { trainGates } from '../../recipes/exit-gates.js';
import { LENGTH, questionDocument } from './language.js';
import { MODEL } from './start.js';

/** Labels that are compared; a gate goes by the name of its labels. */
const GATE_TARGETS = ['published', 'forward'] as const;
const SEED = 7;
const ROWS = 12;

export interface GatesOptions {
  readonly weights: ModelWeights;
  readonly device: Device;
  readonly folderOf: (target: string) => Folder;
  readonly signal: AbortSignal;
  readonly onProgress: (target: string, record: MetricRecord, totalTrainSteps: number) => void;
}

/** The start with each gate of stage II. @returns undefined if stopped by the signal */
export async function withStageTwoGates({
  weights,
  device,
  folderOf,
  signal,
  onProgress,
}: GatesOptions): Promise<ReadonlyMap<string, ModelWeights> | undefined> {
  const source = generatedSource({
    documents: (rng) => questionDocument(rng, 'all'),
    rows: ROWS,
    length: LENGTH,
    seed: SEED,
  });
  const problems = 'cups of reinforcement learning';
  return trainGates({
    device,
    model: MODEL,
    weights,
    plans: GATE_TARGETS.map((target) => ({ name: target, target, source, problems })),
    seed: SEED,
    folderOf,
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
    signal,
    onProgress,
  });
}
