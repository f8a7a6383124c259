/**
 * The stages of a small model on real text: those of the paper (recipes/ouro) at a size that two cores
 * train. The numbers are ours.
 */

/** Folders and files of the recipe, relative to that of its run files. */
export const PATHS = {
  tokenizer: 'tokenizer',
  readmes: 'data/readmes',
  others: 'data/others',
  chats: 'corpus/chats.jsonl',
  base: 'base',
  chat: 'chat',
} as const;

export const VOCAB_SIZE = 2048;

const constant = (warmupTrainSteps: number) => ({ kind: 'constant', warmupTrainSteps });
const cosine = { kind: 'cosine', warmupTrainSteps: 0, finalFraction: 0.1 };
const shared = { optimizer: { beta2: 0.95, weightDecay: 0.1 }, logEvery: 10, snapshotEvery: 50 };

/** So many train steps of the full length, at least 2. */
type Steps = (trainSteps: number) => number;

export const stepsOf =
  (scale: number): Steps =>
  (trainSteps) =>
    Math.max(2, Math.round(trainSteps * scale));

/** Pre-training with more loops, then with fewer; annealing on the better text; long rows. */
export function baseConfig(steps: Steps): object {
  return {
    ...shared,
    tokenizer: PATHS.tokenizer,
    model: { hidden_size: 192, num_hidden_layers: 3, max_position_embeddings: 1024 },
    data: {
      shards: [
        { path: PATHS.readmes, weight: 3 },
        { path: PATHS.others, weight: 1 },
      ],
      rows: 8,
      length: 256,
    },
    validation: { evaluateEvery: steps(200) },
    learningRate: 0.002,
    objective: { kind: 'stage-1', beta: 0.05 },
    stages: [
      {
        name: '1a 6 loops',
        loops: 6,
        objective: { kind: 'stage-1', beta: 0.1 },
        schedule: constant(Math.min(50, steps(50) - 1)),
        accumulate: { from: 1, to: 2, overTrainSteps: steps(200) },
        trainSteps: steps(400),
      },
      {
        name: '1b 4 loops',
        loops: 4,
        schedule: constant(0),
        accumulate: 2,
        trainSteps: steps(400),
        optimizerState: 'kept',
      },
      {
        name: '2 annealing',
        schedule: cosine,
        ropeTheta: 40_000,
        mixture: { readmes: 1 },
        trainSteps: steps(300),
        optimizerState: 'kept',
      },
      {
        name: '3 long context',
        rows: 2,
        length: 1024,
        ropeTheta: 1_000_000,
        learningRate: 0.0002,
        schedule: constant(0),
        trainSteps: steps(100),
        optimizerState: 'kept',
      },
    ],
  };
}

/** Conversations, of which the answers are learnt; then the exit gate alone. */
export function chatConfig(steps: Steps): object {
  return {
    ...shared,
    from: PATHS.base,
    data: { chat: PATHS.chats, rows: 8, length: 256 },
    validation: { evaluateEvery: steps(100) },
    learningRate: 0.0005,
    stages: [
      {
        name: '4 conversations',
        objective: { kind: 'stage-1', beta: 0.05 },
        schedule: cosine,
        trainSteps: steps(200),
      },
      {
        name: '5 exit gate',
        objective: { kind: 'stage-2', target: 'forward' },
        optimizer: { weightDecay: 0, clipNorm: 'off' },
        learningRate: 0.01,
        schedule: cosine,
        trainSteps: steps(100),
      },
    ],
  };
}
