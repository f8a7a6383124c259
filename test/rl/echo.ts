/** A small policy, and a task that it can learn: say after me the last token of the prompt. */
import type { LoopLMConfig } from '../../src/model/index.js';
import type { PolicyTask, PolicyText } from '../../src/rl/index.js';
import type { TrainConfig } from '../../src/train/index.js';
import { parseTrainConfig } from '../../src/train/index.js';
import { SMALL_MODEL, randomWeights } from '../engine/random-model.js';

export const ECHO_MODEL: LoopLMConfig = { ...SMALL_MODEL.config, eosTokenIds: [0] };
export const ECHO_WEIGHTS = randomWeights(ECHO_MODEL, 3);
/** Of the replay. */
export const ECHO_BATCH = { rows: 4, length: 12, seed: 5 } as const;

export const echo: PolicyTask<{ prompt: readonly number[] }> = {
  name: 'echo',
  maxDifficulty: 3,
  draw: (rng, difficulty) => ({ prompt: [difficulty, 1 + (Math.abs(rng.next()) % 2)] }),
  reward: ({ tokenIds }, { prompt }) => (tokenIds[0] === prompt.at(-1) ? 1 : 0),
};

/** Its prompts are ids. */
export const ECHO_TEXT: PolicyText = {
  encode: (prompt) => prompt as readonly number[],
  tokenizer: undefined,
  stopIds: [0],
};

export const echoConfig = (trainSteps: number, maxRollbacks: number): TrainConfig =>
  parseTrainConfig(
    {
      model: ECHO_MODEL,
      learningRate: 0.02,
      schedule: { kind: 'constant' },
      trainSteps,
      logEvery: 1,
      snapshotEvery: 2,
      evaluateEvery: 100,
      spikes: { deviations: 1e6, maxRollbacks },
      data: { task: 'echo' },
    },
    'the run',
  );
