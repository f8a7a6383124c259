/** How fast rollouts come: with exits, in batches by depth, against the fixed path of all loops. */
import type { ExitPolicy } from 'looplm/engine';
import { Engine, fullDepth, sampledExit } from 'looplm/engine';
import type { ModelWeights } from 'looplm/model';
import type { ReplayedKvPolicy } from 'looplm/rl';
import { drawGroups } from 'looplm/rl';
import type { Device } from 'looplm/runtime';
import { alternate } from '../../benchmarks/lib/harness.js';
import { LENGTH, MAX_NEW_TOKENS, NUM_DIFFICULTIES, cupsTask, policyText } from './language.js';
import { MODEL } from './start.js';

const ROUNDS = 7;
interface Path {
  readonly exitPolicy: ExitPolicy;
  readonly kvPolicy: ReplayedKvPolicy;
}

const [GROUPS, GROUP_SIZE] = [16, 8];
const SEED = 13;

export const PATHS = {
  'by depth': { exitPolicy: sampledExit(), kvPolicy: 'per-loop' },
  'by depth and `last-exited`': { exitPolicy: sampledExit(), kvPolicy: 'last-exited' },
  'fixed path': { exitPolicy: fullDepth(), kvPolicy: 'per-loop' },
} as const satisfies Readonly<Record<string, Path>>;

/**
 * New tokens a second, round by round, by `MODEL, PATH`, and the loops that ran as a part of all. All
 * draw answers to the same prompts, other ones in each round, and each has an engine of its own: an
 * engine keeps what it has computed of a prompt, and none is to find what another path has left.
 */
export async function rolloutRates(
  device: Device,
  models: Readonly<Record<string, ModelWeights>>,
): Promise<object> {
  const engines: Engine[] = [];
  const shares: Record<string, number> = {};
  try {
    const variants = [];
    for (const [model, weights] of Object.entries(models)) {
      for (const [name, path] of Object.entries<Path>(PATHS)) {
        const engine = await Engine.create({ device, config: MODEL, weights });
        engines.push(engine);
        const variant = `${model}, ${name}`;
        let round = 0;
        const measure = async () => {
          const { tokensPerSecond, executedShare } = await drawOnce(engine, path, round++);
          shares[variant] = executedShare;
          return tokensPerSecond;
        };
        variants.push({ name: variant, measure });
      }
    }
    for (const { measure } of variants) await measure(); // what is compiled at first use
    const tokensPerSecond = await alternate(variants, ROUNDS);
    return { tokensPerSecond, executedShare: shares };
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}

async function drawOnce(engine: Engine, { exitPolicy, kvPolicy }: Path, round: number) {
  const begun = performance.now();
  const groups = await drawGroups(
    round,
    Array.from({ length: GROUPS }, (_, group) => 1 + (group % NUM_DIFFICULTIES)),
    {
      task: cupsTask,
      text: policyText,
      engine,
      exitPolicy,
      kvPolicy,
      groupSize: GROUP_SIZE,
      maxNewTokens: MAX_NEW_TOKENS,
      maxLength: LENGTH,
      rewardTimeoutMs: 1000,
      seed: SEED,
    },
  );
  const seconds = (performance.now() - begun) / 1000;
  const rollouts = groups.flatMap((group) => group.rollouts);
  const sum = (valueOf: (rollout: (typeof rollouts)[number]) => number) =>
    rollouts.reduce((total, rollout) => total + valueOf(rollout), 0);
  return {
    tokensPerSecond: sum(({ record }) => record.tokenIds.length) / seconds,
    executedShare: sum((it) => it.executedLoops) / sum((it) => it.fullDepthLoops),
  };
}
