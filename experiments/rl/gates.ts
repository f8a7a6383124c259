/** The exit gates of stage II, trained for the start on the problems of reinforcement learning. */
import { generatedSource } from 'looplm/data';
import type { Folder, ModelWeights } from 'looplm/model';
import type { Device } from 'looplm/runtime';
import { openSafetensors } from 'looplm/runtime';
import type { MetricRecord } from 'looplm/train';
import type { GateTarget } from '../../recipes/exit-gates.js';
import { GATES_FILE, GATE_TARGETS, trainGates } from '../../recipes/exit-gates.js';
import { LENGTH, questionDocument } from './language.js';
import { MODEL } from './start.js';

const SEED = 7;
const ROWS = 12;

export interface GatesOptions {
  readonly weights: ModelWeights;
  readonly device: Device;
  readonly folder: Folder;
  readonly folderOf: (target: GateTarget) => Folder;
  readonly signal: AbortSignal;
  readonly onProgress: (target: GateTarget, record: MetricRecord, totalTrainSteps: number) => void;
}

/** The start with each gate of stage II. @returns undefined if stopped by the signal */
export async function withStageTwoGates({
  weights,
  device,
  folder,
  folderOf,
  signal,
  onProgress,
}: GatesOptions): Promise<ReadonlyMap<GateTarget, ModelWeights> | undefined> {
  const gates = await trainGates({
    device,
    model: MODEL,
    weights,
    source: generatedSource({
      documents: (rng) => questionDocument(rng, 'all'),
      rows: ROWS,
      length: LENGTH,
      seed: SEED,
    }),
    problems: 'cups of reinforcement learning',
    seed: SEED,
    folderOf,
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
    signal,
    onProgress,
  });
  if (!gates) return undefined;
  await folder.write(GATES_FILE, [gates]);
  const file = await folder.open(GATES_FILE);
  try {
    const reader = await openSafetensors(file);
    const withGates = new Map<GateTarget, ModelWeights>();
    for (const target of GATE_TARGETS) {
      const own = new Map(weights);
      for (const part of ['weight', 'bias']) {
        const values = await reader.readFloat32(`stage2-${target}.${part}`);
        own.set(`model.early_exit_gate.${part}`, values);
      }
      withGates.set(target, own);
    }
    return withGates;
  } finally {
    await file.close();
  }
}
