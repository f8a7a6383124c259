/**
 * From rollouts to the batches in which a trainer replays them.
 *
 * A rollout is a document whose targets are the tokens that were drawn; beside each stands what the
 * objective must know of how it was drawn. Under `per-loop` every token has the keys and values of all
 * loops, as in a packed batch, so the replay computes what the rollout did.
 * Source: docs/math.md (rollout log-probabilities, policy-gradient).
 */
import type { TrainingBatch, TrainingDocument } from '../data/index.js';
import { BatchPacker, IGNORED_TARGET } from '../data/index.js';
import type { RolloutRecord } from '../engine/index.js';
import { exitLogProb } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import { quote } from '../util/quote.js';
import type { PolicySettings } from './objective-settings.js';
import { POLICY_INPUTS, loopWeightInput } from './objective.js';

/** A rollout and what it is worth to the trainer. */
export interface ScoredRollout {
  readonly record: RolloutRecord;
  readonly advantage: number;
  /** Of each of its tokens, in the mean over all of an update. */
  readonly weight: number;
  /** Log-probabilities of its tokens by the reference, if there is one. */
  readonly reference?: readonly number[] | undefined;
}

export interface ReplayOptions {
  readonly settings: Pick<PolicySettings, 'credit'>;
  readonly rows: number;
  readonly length: number;
  readonly padId: number;
  /** Weights of the loops, where they are learnt. */
  readonly loopWeights?: readonly number[] | undefined;
}

/** Where the tokens of a rollout stand in the batches of an update. */
export interface ReplayedRollout {
  readonly record: RolloutRecord;
  /** Index of the batch. */
  readonly batch: number;
  /** Position in the batch, row-major, at which its first token is predicted; the others follow. */
  readonly offset: number;
}

export interface ReplayBatches {
  readonly batches: readonly TrainingBatch[];
  readonly rollouts: readonly ReplayedRollout[];
}

/** What the trainer can replay exactly: other rollouts drew from another distribution than it trains. */
const PLAIN_SAMPLING = {
  temperature: 1,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
} as const;

/**
 * Refuses a rollout that a trainer cannot replay to the same probabilities.
 *
 * @throws ConfigError that says which setting of the rollout is in the way
 */
export function checkReplayable(
  { kvPolicy, sampling, exitPolicy }: RolloutRecord,
  { credit }: Pick<PolicySettings, 'credit'>,
): void {
  if (kvPolicy !== 'per-loop') {
    throw new ConfigError(
      'kvPolicy',
      `A rollout was drawn with KV policy ${kvPolicy}, and a trainer computes keys and values of every loop; draw rollouts with per-loop.`,
    );
  }
  for (const [name, plain] of Object.entries(PLAIN_SAMPLING)) {
    const value = sampling[name as keyof typeof PLAIN_SAMPLING];
    if (value === plain) continue;
    throw new ConfigError(
      name,
      `A rollout was drawn with ${name} ${value}, and a trainer has the model's own distribution; draw rollouts with ${name} ${plain}.`,
    );
  }
  for (const name of ['topK', 'logitBias'] as const) {
    if (sampling[name] === undefined) continue;
    throw new ConfigError(name, `A rollout was drawn with ${name}; draw rollouts without it.`);
  }
  if (credit.kind !== 'depth-action' || exitPolicy === 'sampled') return;
  throw new ConfigError(
    'exitPolicy',
    `A rollout was drawn with exit policy ${quote(exitPolicy)}, whose exits have no probability; depth as an action needs "sampled".`,
  );
}

/**
 * Packs rollouts into batches, as many as they need.
 *
 * @throws ConfigError for a rollout that is longer than a row or that cannot be replayed
 */
export function replayBatches(
  rollouts: readonly ScoredRollout[],
  options: ReplayOptions,
): ReplayBatches {
  const { rows, length, padId } = options;
  const packers: BatchPacker[] = [];
  const replayed = rollouts.map((rollout): ReplayedRollout => {
    const { record } = rollout;
    checkReplayable(record, options.settings);
    const numInputs = record.promptIds.length + record.tokenIds.length - 1;
    if (numInputs > length) {
      throw new ConfigError(
        'length',
        `A rollout has ${numInputs} tokens to replay, and rows have ${length}; make rows longer, or answers shorter (maxNewTokens).`,
      );
    }
    for (let batch = 0; ; batch++) {
      const packer = (packers[batch] ??= new BatchPacker({ rows, length, padId }));
      const start = packer.add(replayDocument(rollout, packer.numDocuments, options));
      if (start === undefined) continue;
      return { record, batch, offset: start + record.promptIds.length - 1 };
    }
  });
  return { batches: packers.map(({ batch }) => batch), rollouts: replayed };
}

function replayDocument(
  { record, advantage, weight, reference }: ScoredRollout,
  sequence: number,
  { settings, loopWeights }: ReplayOptions,
): TrainingDocument {
  const { promptIds, tokenIds, exitDepths } = record;
  const ids = [...promptIds, ...tokenIds.slice(0, -1)];
  const first = promptIds.length - 1;
  /** Zeros for the prompt, then a number for each token. */
  const floats = (valueOf: (token: number) => number) =>
    Float32Array.from(ids, (_, position) => (position < first ? 0 : valueOf(position - first)));
  const { exitDepth, advantage: gain, weight: share, behavior } = POLICY_INPUTS;
  return {
    ids,
    targets: ids.map((_, position) => tokenIds[position - first] ?? IGNORED_TARGET),
    extra: {
      [exitDepth.name]: Int32Array.from(ids, (_, position) => exitDepths[position - first] ?? 0),
      [gain.name]: floats(() => advantage),
      [share.name]: floats(() => weight),
      [behavior.name]: floats((token) => behaviorLogProb(record, token, settings)),
      [POLICY_INPUTS.sequence.name]: new Int32Array(ids.length).fill(sequence),
      ...(reference && { [POLICY_INPUTS.reference.name]: floats((token) => reference[token]!) }),
      ...Object.fromEntries(
        (loopWeights ?? []).map((value, loopIndex) => [
          loopWeightInput(loopIndex).name,
          new Float32Array(ids.length).fill(value),
        ]),
      ),
    },
  };
}

/** Log-probability with which the rollout did what it did at a token. */
function behaviorLogProb(
  record: RolloutRecord,
  token: number,
  { credit }: Pick<PolicySettings, 'credit'>,
): number {
  const logprob = record.logprobs[token]!;
  return credit.kind === 'depth-action' ? logprob + exitLogProbOf(record, token) : logprob;
}

/** Log-probability, by the gate, of exiting where a token did. */
export function exitLogProbOf(record: RolloutRecord, token: number): number {
  return exitLogProb(record.gateLogits![token]!, record.exitDepths[token]!, record.numLoops);
}
