/**
 * A trainer that is wrong about its rollouts: they run all loops, as engines of fixed depth do, and it
 * replays each token where the gate would have exited. So it trains what nobody drew. Here to show
 * what comes of it; looplm itself replays what was computed.
 */
import { generatorFor } from 'looplm/data';
import type { RolloutRecord } from 'looplm/engine';
import { Engine, ExitTracker, fullDepth, sampledExit } from 'looplm/engine';
import { mean } from 'looplm/eval';
import type { ReplayBatches, RolloutGroup, RolloutSourceOptions } from 'looplm/rl';
import {
  Curriculum,
  agreementOf,
  drawGroups,
  groupAdvantages,
  isWithoutVariance,
  replayBatches,
} from 'looplm/rl';
import type { ResidentWeights } from 'looplm/runtime';
import type { PolicyMoment, PolicySource } from 'looplm/train';

type Options<P extends { readonly prompt: readonly number[] }> = Pick<
  RolloutSourceOptions<P>,
  'task' | 'text' | 'settings' | 'model' | 'rows' | 'length' | 'seed'
>;

/** As `RolloutSource` has it: the problems are those of the other arms. */
const DIFFICULTIES = 0x68617264;

export class PretendedExits<
  P extends { readonly prompt: readonly number[] },
> implements PolicySource {
  readonly rows: number;
  readonly length: number;
  readonly #options: Options<P>;
  #resident: { readonly weights: ResidentWeights; readonly engine: Engine } | undefined;
  #drawn: { readonly groups: readonly RolloutGroup[]; readonly replay: ReplayBatches } | undefined;

  constructor(options: Options<P>) {
    this.#options = options;
    this.rows = options.rows;
    this.length = options.length;
  }

  async batchesFor(moment: PolicyMoment) {
    const { task, text, settings, model, rows, length, seed } = this.#options;
    const rng = generatorFor(seed, DIFFICULTIES, moment.trainStep);
    const curriculum = new Curriculum({
      maxDifficulty: task.maxDifficulty ?? 1,
      ...settings.curriculum,
    });
    const drawn = await drawGroups(
      moment.trainStep,
      Array.from({ length: settings.groups }, () => curriculum.draw(rng)),
      {
        task,
        text,
        engine: await this.#engine(moment),
        exitPolicy: fullDepth(),
        groupSize: settings.groupSize,
        maxNewTokens: settings.maxNewTokens,
        maxLength: length,
        rewardTimeoutMs: 1000 * settings.rewardTimeoutSeconds,
        seed,
        signal: moment.signal,
      },
    );
    const groups = drawn.map(({ rollouts, ...group }) => ({
      ...group,
      rollouts: rollouts.map((rollout) => ({ ...rollout, record: pretended(rollout.record) })),
    }));
    const teaching = groups.filter(({ rollouts }) => !isWithoutVariance(rollouts.map(rewardOf)));
    const used = teaching.length > 0 ? teaching : groups.slice(0, 1);
    const scored = used.flatMap(({ rollouts }) => {
      const advantages = groupAdvantages(rollouts.map(rewardOf), settings.advantages);
      return rollouts.map(({ record }, index) => ({
        record,
        advantage: advantages[index]!,
        weight: 1,
      }));
    });
    const padId = model.padTokenId ?? 0;
    const replay = replayBatches(scored, { settings: settings.policy, rows, length, padId });
    this.#drawn = { groups, replay };
    return replay.batches;
  }

  learnt({ tokens }: Parameters<PolicySource['learnt']>[0]) {
    const { groups, replay } = this.#drawn!;
    const rollouts = groups.flatMap((group) => group.rollouts);
    const depths = rollouts.flatMap(({ record }) => record.exitDepths);
    return {
      reward: mean(rollouts.map(rewardOf)),
      meanDepth: mean(depths),
      answerTokens: depths.length / rollouts.length,
      ...agreementOf(replay.rollouts, tokens, this.#options.settings.policy),
    };
  }

  /** It knows nothing but its options. */
  save() {
    return null;
  }

  restore() {}

  async release() {
    await this.#resident?.engine.dispose();
    this.#resident = undefined;
  }

  async #engine({ weights, model }: PolicyMoment): Promise<Engine> {
    if (this.#resident?.weights === weights) return this.#resident.engine;
    await this.release();
    const engine = await Engine.create({ device: weights.device, config: model, weights });
    this.#resident = { weights, engine };
    return engine;
  }
}

const rewardOf = ({ judgement }: RolloutGroup['rollouts'][number]): number =>
  'reward' in judgement ? judgement.reward : 0;

/** The record of a rollout of full depth, its tokens at the depths that the gate would have drawn. */
export function pretended(record: RolloutRecord): RolloutRecord {
  const { gateLogits, numLoops, seed } = record;
  const exitDepths = gateLogits!.map((logits, tokenIndex) => {
    const tracker = new ExitTracker(sampledExit(), { numLoops, seed, tokenIndex });
    logits.find((gateLogit) => tracker.observe({ gateLogit }));
    return tracker.depth;
  });
  return { ...record, exitDepths, meanDepth: mean(exitDepths) };
}
