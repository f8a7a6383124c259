/**
 * Rollouts as the data of a run: before each update the policy answers problems, and what the answers
 * are worth becomes the batches of the update.
 *
 * The trainer's own weights are read where they are: nothing is copied, written or loaded, unless others draw
 * (provider.ts). What must outlive the process (which difficulties are solved, learnt weights of loops) is
 * small, and in the run's snapshots.
 */
import { z } from 'zod';
import type { TrainingBatch } from '../data/index.js';
import type { ExitPolicy } from '../engine/index.js';
import { UpdatableWeights, parseExitPolicy } from '../engine/index.js';
import { ConfigError } from '../errors.js';
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import type { ResidentWeights } from '../runtime/index.js';
import type { PolicyMoment, PolicySource, TokenOutputs } from '../train/index.js';
import { TokenScorer } from '../train/index.js';
import { abortable } from '../util/abortable.js';
import { quote } from '../util/quote.js';
import { generatorFor } from '../util/random.js';
import { groupAdvantages, isWithoutVariance, meanOf, tokenWeights } from './advantages.js';
import { agreementOf } from './agreement.js';
import { Curriculum } from './curriculum.js';
import { LoopWeights } from './loop-weights.js';
import type { ReplayBatches, ReplayOptions, ScoredRollout } from './replay.js';
import { replayBatches } from './replay.js';
import { replayedExits } from './objective.js';
import type { RolloutProvider } from './provider.js';
import { LocalRollouts } from './provider.js';
import type { GroupPlan, PolicyText, Rollout, RolloutGroup } from './rollouts.js';
import { judgeGroups, planGroups } from './rollouts.js';
import type { RLSettings } from './settings.js';
import type { PolicyPrompt, PolicyTask } from './task.js';
import { maxDifficultyOf } from './task.js';

export interface RolloutSourceOptions<P extends { readonly prompt: PolicyPrompt }> {
  readonly task: PolicyTask<P>;
  readonly text: PolicyText;
  readonly settings: RLSettings;
  readonly model: LoopLMConfig;
  /** Rows and positions of a batch; a prompt and its answer must fit a row. */
  readonly rows: number;
  readonly length: number;
  readonly seed: number;
  /** Who draws. Default: an engine that shares the weights in training, where they are. */
  readonly rollouts?: RolloutProvider | undefined;
  /** Of the run: nothing is drawn ahead for updates after the last one. Default: no end. */
  readonly trainSteps?: number | undefined;
  /** What the policy is held to, where `klCoefficient` is above 0: the weights that the run began with. */
  readonly reference?: ModelWeights | undefined;
  /** Told in a sentence what a reward did wrong. */
  readonly onFault?: ((sentence: string) => void) | undefined;
}

/** What there is while a stage runs. */
interface Resident {
  readonly weights: ResidentWeights;
  readonly reference?: { readonly weights: UpdatableWeights; readonly scorer: TokenScorer };
}

/** An update under way. */
interface Drawn {
  readonly replay: ReplayBatches;
  readonly groups: readonly ScoredGroup[];
}

/** A group, and the rewards of those of its answers that have one, less what their depth costs. */
interface ScoredGroup {
  readonly difficulty: number;
  readonly judged: readonly {
    readonly rollout: Rollout;
    readonly reward: number;
    readonly worth: number;
  }[];
}

const savedSchema = z.strictObject({ curriculum: z.unknown(), loopWeights: z.unknown() });

export class RolloutSource<P extends { readonly prompt: PolicyPrompt }> implements PolicySource {
  readonly rows: number;
  readonly length: number;
  readonly #options: RolloutSourceOptions<P>;
  readonly #exitPolicy: ExitPolicy;
  readonly #provider: RolloutProvider;
  /** What is being drawn, by update. */
  readonly #plans = new Map<number, readonly GroupPlan<P>[]>();
  #curriculum: Curriculum;
  #loopWeights: LoopWeights;
  #resident: Resident | undefined;
  #drawn: Drawn | undefined;

  /** @throws ConfigError for an exit policy that is none, or that the objective cannot credit */
  constructor(options: RolloutSourceOptions<P>) {
    const { settings, rollouts = new LocalRollouts() } = options;
    checkStaleness(options);
    this.#options = options;
    this.#provider = rollouts;
    this.rows = options.rows;
    this.length = options.length;
    this.#exitPolicy = parseExitPolicy(settings.exitPolicy);
    checkExits(this.#exitPolicy, settings);
    this.#curriculum = this.#freshCurriculum();
    this.#loopWeights = new LoopWeights(options.model.numLoops);
  }

  async batchesFor(moment: PolicyMoment): Promise<readonly TrainingBatch[]> {
    const { settings, task, text, trainSteps = Infinity } = this.#options;
    const { trainStep, signal } = moment;
    const { reference } = await this.#prepared(moment);
    await this.#provider.useWeights(moment);
    const ahead = Math.min(trainStep + settings.staleness, trainSteps - 1);
    for (let step = trainStep; step <= Math.max(trainStep, ahead); step++) await this.#ask(step);
    const plans = this.#plans.get(trainStep)!;
    this.#plans.delete(trainStep);
    const judging = judgeGroups(plans, this.#provider.answers(trainStep, signal), {
      task,
      text,
      rewardTimeoutMs: 1000 * settings.rewardTimeoutSeconds,
    });
    const drawn = await abortable(judging, signal); // a reward may take long
    signal?.throwIfAborted();
    this.#tellFaults(drawn);
    const groups = drawn.map((group) => scoredGroup(group, settings, moment.model));
    for (const { difficulty, judged } of groups) {
      if (judged.length === 0) continue;
      this.#curriculum.observe(difficulty, meanOf(judged.map(({ reward }) => reward)));
    }
    const rollouts = this.#scored(groups);
    const replay = await this.#replayed(rollouts, reference?.scorer);
    this.#drawn = { replay, groups };
    return replay.batches;
  }

  learnt({ tokens, learningRate }: Parameters<PolicySource['learnt']>[0]) {
    const { groups, replay } = this.#drawn!;
    const { policy, staleness } = this.#options.settings;
    const { credit } = policy;
    if (credit.kind === 'loops' && credit.weights === 'learned') {
      this.#loopWeights.update(slopesOf(replay, tokens), learningRate);
    }
    const all = groups.flatMap(({ judged }) => judged);
    const rollouts = all.map(({ rollout }) => rollout);
    const depths = rollouts.flatMap(({ record }) => record.exitDepths);
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    return {
      reward: meanOf(all.map(({ reward }) => reward)),
      worth: meanOf(all.map(({ worth }) => worth)),
      meanDepth: meanOf(depths),
      answerTokens: depths.length / all.length,
      executedShare:
        sum(rollouts.map(({ executedLoops }) => executedLoops)) /
        sum(rollouts.map(({ fullDepthLoops }) => fullDepthLoops)),
      difficulty: meanOf(groups.map(({ difficulty }) => difficulty)),
      droppedGroups: groups.filter((group) => !teaches(group)).length,
      rewardFaults: groups.length * this.#options.settings.groupSize - all.length,
      ...agreementOf(replay.rollouts, tokens, policy),
      ...(staleness > 0 && { staleness: meanOf(rollouts.map((rollout) => rollout.staleness)) }),
      ...(credit.kind === 'loops' &&
        credit.weights === 'learned' && { loopWeights: this.#loopWeights.values }),
    };
  }

  save(): unknown {
    return { curriculum: this.#curriculum.save(), loopWeights: this.#loopWeights.save() };
  }

  restore(saved: unknown): void {
    this.#plans.clear();
    this.#provider.forget();
    this.#curriculum = this.#freshCurriculum();
    this.#loopWeights = new LoopWeights(this.#options.model.numLoops);
    if (saved === undefined) return;
    const { curriculum, loopWeights } = savedSchema.parse(saved);
    this.#curriculum.restore(curriculum);
    this.#loopWeights.restore(loopWeights);
  }

  async release(): Promise<void> {
    const resident = this.#resident;
    this.#resident = undefined;
    await this.#provider.release();
    await resident?.reference?.scorer.dispose();
    await resident?.reference?.weights.dispose();
  }

  /** Begins to have the rollouts of an update drawn, if that has not begun. */
  async #ask(trainStep: number): Promise<void> {
    if (this.#plans.has(trainStep)) return;
    const { settings, task, text, seed } = this.#options;
    const rng = generatorFor(seed, DIFFICULTIES, trainStep);
    const difficulties = Array.from({ length: settings.groups }, () => this.#curriculum.draw(rng));
    const plans = planGroups(trainStep, difficulties, {
      task,
      text,
      exitPolicy: this.#exitPolicy,
      kvPolicy: settings.kvPolicy,
      groupSize: settings.groupSize,
      maxNewTokens: settings.maxNewTokens,
      maxLength: this.length,
      seed,
    });
    this.#plans.set(trainStep, plans);
    await this.#provider.ask(
      trainStep,
      plans.map(({ request }) => request),
    );
  }

  #freshCurriculum(): Curriculum {
    const { task, settings } = this.#options;
    return new Curriculum({ maxDifficulty: maxDifficultyOf(task), ...settings.curriculum });
  }

  /** The reference for the weights of a stage, made once. */
  async #prepared({ weights, model }: PolicyMoment): Promise<Resident> {
    if (this.#resident?.weights === weights) return this.#resident;
    await this.release();
    const reference = await this.#openReference(weights, model);
    this.#resident = { weights, ...(reference && { reference }) };
    return this.#resident;
  }

  async #openReference({ device }: ResidentWeights, model: LoopLMConfig) {
    const { settings, reference } = this.#options;
    if (settings.policy.klCoefficient === 0) return undefined;
    if (!reference) {
      throw new ConfigError(
        'klCoefficient',
        `klCoefficient is ${settings.policy.klCoefficient}, and there are no weights to hold the policy to; give reference, or set klCoefficient to 0.`,
      );
    }
    const weights = await UpdatableWeights.create(device, model, reference);
    const size = { rows: this.rows, length: this.length };
    const exits = replayedExits(settings.kvPolicy);
    return { weights, scorer: await TokenScorer.create(model, weights, size, exits) };
  }

  #tellFaults(groups: readonly RolloutGroup[]): void {
    const { task, onFault } = this.#options;
    const judgements = groups.flatMap(({ rollouts }) => rollouts.map(({ judgement }) => judgement));
    const faults = judgements.flatMap((judgement) => ('fault' in judgement ? judgement.fault : []));
    const [first] = faults;
    if (first === undefined) return;
    const many = `${faults.length} of ${judgements.length} rewards of the task ${task.name} are missing: ${first}`;
    if (faults.length === judgements.length) {
      throw new ConfigError('reward', `${many}. Correct the task.`);
    }
    onFault?.(`${many}; those answers are left out`);
  }

  /** Answers with their advantages, of the groups that teach; if none does, of one, without any. */
  #scored(groups: readonly ScoredGroup[]): readonly ScoredRollout[] {
    const { advantages, maxNewTokens } = this.#options.settings;
    const teaching = groups.filter(teaches);
    const used =
      teaching.length > 0 ? teaching : groups.filter(({ judged }) => judged.length > 0).slice(0, 1);
    const rollouts = used.flatMap(({ judged }) => {
      const found = groupAdvantages(
        judged.map(({ worth }) => worth),
        advantages,
      );
      return judged.map(({ rollout: { record } }, index) => ({ record, advantage: found[index]! }));
    });
    const lengths = rollouts.map(({ record }) => record.tokenIds.length);
    const weights = tokenWeights(lengths, advantages.lengthNorm, maxNewTokens);
    return rollouts.map((rollout, index) => ({ ...rollout, weight: weights[index]! }));
  }

  /** The batches of rollouts, with what the reference says of them, if there is one. */
  async #replayed(
    rollouts: readonly ScoredRollout[],
    scorer: TokenScorer | undefined,
  ): Promise<ReplayBatches> {
    const { settings, model, rows, length } = this.#options;
    const { credit } = settings.policy;
    const options: ReplayOptions = {
      settings: settings.policy,
      kvPolicy: settings.kvPolicy,
      rows,
      length,
      padId: model.padTokenId ?? 0,
      ...(credit.kind === 'loops' &&
        credit.weights === 'learned' && { loopWeights: this.#loopWeights.values }),
    };
    const replay = replayBatches(rollouts, options);
    if (!scorer) return replay;
    const outputs: TokenOutputs[] = [];
    for (const batch of replay.batches) outputs.push(await scorer.score(batch));
    const isAtLast = credit.kind === 'loops' || credit.kind === 'last-loop';
    const compared = replay.rollouts.map(({ record, batch, offset }, index) => ({
      ...rollouts[index]!,
      reference: record.exitDepths.map((depth, token) => {
        const loopIndex = (isAtLast ? record.numLoops : depth) - 1;
        return outputs[batch]!.logProbs[loopIndex]![offset + token]!;
      }),
    }));
    return replayBatches(compared, options);
  }
}

/** Tells draws of difficulties from those of problems and answers. */
const DIFFICULTIES = 0x68617264;

function checkExits(exitPolicy: ExitPolicy, { policy: { credit } }: RLSettings): void {
  if (credit.kind !== 'depth-action' || exitPolicy.name === 'sampled') return;
  throw new ConfigError(
    'exitPolicy',
    `exitPolicy is ${quote(exitPolicy.name)}, whose exits have no probability; depth as an action needs "sampled".`,
  );
}

function checkStaleness({
  settings: { staleness, policy },
  rollouts,
}: Pick<RolloutSourceOptions<never>, 'settings' | 'rollouts'>): void {
  if (staleness === 0) return;
  if (!rollouts) {
    throw new ConfigError(
      'staleness',
      `staleness is ${staleness}, and nobody draws while the trainer learns. Have workers draw (--workers nats://HOST/RUN), or leave staleness out.`,
    );
  }
  if (policy.ratio.kind !== 'none') return;
  throw new ConfigError(
    'policy.ratio',
    `staleness is ${staleness}, and ratio "none" corrects nothing that other weights drew. Take "truncate", "mask" or "clip", or leave staleness out.`,
  );
}

function scoredGroup(
  { difficulty, rollouts }: RolloutGroup,
  { depth: { price, budget, budgetPrice } }: RLSettings,
  { numLoops }: LoopLMConfig,
): ScoredGroup {
  const judged = rollouts.flatMap((rollout) => {
    const { record, judgement } = rollout;
    if ('fault' in judgement || record.tokenIds.length === 0) return [];
    const { reward } = judgement;
    const share = record.meanDepth / numLoops;
    const over = budget === undefined ? 0 : record.meanDepth - budget;
    return { rollout, reward, worth: reward - price * share - budgetPrice * over * over };
  });
  return { difficulty, judged };
}

const teaches = ({ judged }: ScoredGroup): boolean =>
  judged.length > 1 && !isWithoutVariance(judged.map(({ worth }) => worth));

/** Derivative of the loss by the weight of each loop, were they free. */
function slopesOf({ batches }: ReplayBatches, tokens: readonly TokenOutputs[]): readonly number[] {
  const numLoops = tokens[0]!.logProbs.length;
  const count = batches.reduce(
    (sum, { targets }) => sum + targets.filter((target) => target >= 0).length,
    0,
  );
  return Array.from({ length: numLoops }, (_, loopIndex) => {
    let sum = 0;
    batches.forEach(({ extra }, batch) => {
      const [advantage, weight] = [extra!['advantage']!, extra!['weight']!];
      tokens[batch]!.logProbs[loopIndex]!.forEach((logProb, position) => {
        sum -= advantage[position]! * weight[position]! * logProb;
      });
    });
    return sum / count;
  });
}
