/** Rollouts of tiny random models, and objectives run once over their replay. */
import type { RolloutRecord } from '../../src/engine/index.js';
import { Engine, parseSamplingOptions } from '../../src/engine/index.js';
import type { ExitPolicy } from '../../src/engine/index.js';
import type { KvPolicy, LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import type { ScoredRollout } from '../../src/rl/index.js';
import type { Device } from '../../src/runtime/index.js';
import { requestOf, runAll } from '../engine/runs.js';

export interface RolloutDraw {
  readonly prompts: readonly (readonly number[])[];
  readonly exitPolicy: ExitPolicy;
  readonly kvPolicy?: KvPolicy;
  readonly seed?: number;
}

/** One rollout of each prompt, drawn from the model's own distribution. */
export async function rolloutsOf(
  device: Device,
  config: LoopLMConfig,
  weights: ModelWeights,
  { prompts, exitPolicy, kvPolicy = 'per-loop', seed = 1 }: RolloutDraw,
): Promise<readonly RolloutRecord[]> {
  const engine = await Engine.create({ device, config, weights });
  try {
    const requests = prompts.map((promptIds, index) =>
      requestOf(promptIds, exitPolicy, {
        record: true,
        kvPolicy,
        maxNewTokens: 6,
        sampling: parseSamplingOptions({ temperature: 1, seed: seed + index }),
      }),
    );
    return (await runAll(engine, requests)).map(({ finish }) => finish.rollout!);
  } finally {
    await engine.dispose();
  }
}

/** Rollouts with an advantage each, all of equal weight. */
export const scored = (
  records: readonly RolloutRecord[],
  advantages: readonly number[],
): readonly ScoredRollout[] =>
  records.map((record, index) => ({ record, advantage: advantages[index]!, weight: 1 }));
