/**
 * From rollouts to the batches in which a trainer replays them.
 *
 * The targets of a prompt's answers are the tokens that were drawn; beside each stands what the
 * objective must know of how it was drawn. Answers to one prompt share it, here as in the rollout. Under
 * `per-loop` every token has the keys and values of all loops, as in a packed batch, and under `last-exited` those
 * of the loop at which it exited take the place of deeper ones, so the replay computes what the rollout did.
 * Source: docs/math.md (rollout log-probabilities, policy-gradient, kv-policies).
 */
import type { TrainingBatch, TrainingDocument } from '../data/index.js';
import { BatchPacker, IGNORED_TARGET } from '../data/index.js';
import type { RolloutRecord } from '../engine/index.js';
import { exitLogProb } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import { quote } from '../util/quote.js';
import type { PolicySettings, ReplayedKvPolicy } from './objective-settings.js';
import { REPLAYED_KV_POLICIES } from './objective-settings.js';
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
  /** Of all rollouts. Default `per-loop`. */
  readonly kvPolicy?: ReplayedKvPolicy | undefined;
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
  { kvPolicy, prefill, sampling, exitPolicy }: RolloutRecord,
  { credit }: Pick<PolicySettings, 'credit'>,
  replayed: ReplayedKvPolicy = 'per-loop',
): void {
  if (kvPolicy !== replayed) {
    throw new ConfigError(
      'kvPolicy',
      `A rollout was drawn with KV policy ${kvPolicy}, and is replayed with ${replayed}; a trainer knows ${REPLAYED_KV_POLICIES.join(' and ')}. Draw and replay with the same one.`,
    );
  }
  if (prefill === 'adaptive') {
    throw new ConfigError(
      'prefill',
      'A rollout was drawn with prefill adaptive, whose prompt tokens exit for each answer elsewhere, and answers share their prompt in the replay; draw rollouts with prefill full.',
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
 * Packs rollouts into batches, as many as they need. Answers to one prompt that follow each other share
 * its positions, as far as a row reaches: each begins with a copy of the prompt's last token, which predicts its
 * first one.
 *
 * @throws ConfigError for a rollout that is longer than a row or that cannot be replayed
 */
export function replayBatches(
  rollouts: readonly ScoredRollout[],
  options: ReplayOptions,
): ReplayBatches {
  const { rows, length, padId, settings, kvPolicy } = options;
  const packers: { readonly packer: BatchPacker; numSequences: number }[] = [];
  const replayed: ReplayedRollout[] = [];
  for (const { record } of rollouts) checkReplayable(record, settings, kvPolicy);
  for (const group of sharedPrompts(rollouts, length)) {
    const stemLength = group[0]!.record.promptIds.length - 1;
    for (let batch = 0; ; batch++) {
      const filled = (packers[batch] ??= {
        packer: new BatchPacker({ rows, length, padId }),
        numSequences: 0,
      });
      const start = filled.packer.add(groupDocument(group, filled.numSequences, options));
      if (start === undefined) continue;
      filled.numSequences += group.length;
      let offset = start + stemLength;
      for (const { record } of group) {
        replayed.push({ record, batch, offset });
        offset += record.tokenIds.length;
      }
      break;
    }
  }
  return { batches: packers.map(({ packer }) => packer.batch), rollouts: replayed };
}

/** Rollouts in a row that answer the same prompt, as many as fit a row with it. */
function sharedPrompts(
  rollouts: readonly ScoredRollout[],
  length: number,
): readonly (readonly ScoredRollout[])[] {
  const groups: ScoredRollout[][] = [];
  let room = 0;
  for (const rollout of rollouts) {
    const { promptIds, tokenIds } = rollout.record;
    const last = groups.at(-1);
    if (last && room >= tokenIds.length && isSame(last[0]!.record.promptIds, promptIds)) {
      last.push(rollout);
    } else {
      groups.push([rollout]);
      room = length - promptIds.length + 1;
    }
    room -= tokenIds.length;
    if (room >= 0) continue;
    throw new ConfigError(
      'length',
      `A rollout has ${length - room} tokens to replay, and rows have ${length}; make rows longer, or answers shorter (maxNewTokens).`,
    );
  }
  return groups;
}

const isSame = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((id, index) => id === b[index]);

/**
 * A prompt without its last token, and after it each answer, that token before it.
 *
 * @param firstSequence - number of the first answer among those of its batch
 */
function groupDocument(
  group: readonly ScoredRollout[],
  firstSequence: number,
  { settings, kvPolicy, loopWeights }: ReplayOptions,
): TrainingDocument {
  const { promptIds, numLoops } = group[0]!.record;
  const stem = promptIds.slice(0, -1);
  const answers = group.map(({ record: { tokenIds } }) => tokenIds);
  const size = answers.reduce((sum, { length }) => sum + length, stem.length);
  const ends = new Int32Array(size).fill(size);
  const positions = Int32Array.from({ length: size }, (_, position) => position);
  let start = stem.length;
  for (const { length } of answers) {
    ends.fill(start + length, start, start + length);
    for (let token = 0; token < length; token++) positions[start + token] = stem.length + token;
    start += length;
  }
  /** What stands at the prompt, then a number for each token of each answer. */
  const numbers = (
    valueOf: (rollout: ScoredRollout, token: number, index: number) => number,
    ofPrompt = 0,
  ) => [
    ...stem.map(() => ofPrompt),
    ...group.flatMap((rollout, index) =>
      rollout.record.tokenIds.map((_, token) => valueOf(rollout, token, index)),
    ),
  ];
  const floats = (valueOf: (rollout: ScoredRollout, token: number) => number) =>
    Float32Array.from(numbers(valueOf));
  const { exitDepth, advantage, weight, behavior, sequence, reference, kvDepth } = POLICY_INPUTS;
  const hasReference = group[0]!.reference !== undefined;
  return {
    ids: [...stem, ...answers.flatMap((ids) => [promptIds.at(-1)!, ...ids.slice(0, -1)])],
    targets: numbers(({ record }, token) => record.tokenIds[token]!, IGNORED_TARGET),
    branches: { positions, seenUntil: ends },
    extra: {
      [exitDepth.name]: Int32Array.from(numbers(({ record }, token) => record.exitDepths[token]!)),
      [advantage.name]: floats((rollout) => rollout.advantage),
      [weight.name]: floats((rollout) => rollout.weight),
      [behavior.name]: floats(({ record }, token) => behaviorLogProb(record, token, settings)),
      [sequence.name]: Int32Array.from(
        numbers((_rollout, _token, index) => firstSequence + index, firstSequence),
      ),
      ...(hasReference && {
        [reference.name]: floats((rollout, token) => rollout.reference![token]!),
      }),
      // The prompt has run all loops, its last token for each answer too.
      ...(kvPolicy === 'last-exited' && {
        [kvDepth.name]: Int32Array.from(
          numbers(
            ({ record }, token) => (token === 0 ? numLoops : record.exitDepths[token]!),
            numLoops,
          ),
        ),
      }),
      ...Object.fromEntries(
        (loopWeights ?? []).map((value, loopIndex) => [
          loopWeightInput(loopIndex).name,
          new Float32Array(size).fill(value),
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
