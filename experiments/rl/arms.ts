/**
 * The ways to train that are compared. An arm is what a run's settings say, and in one case a trainer
 * that takes rollouts for what they are not. Experiments share arms: none is trained twice.
 */
import { ConfigError } from 'looplm/errors';
import type { RLSettings } from 'looplm/rl';
import { parseRLSettings } from 'looplm/rl';
import { MAX_NEW_TOKENS } from './language.js';

export interface Arm {
  readonly title: string;
  readonly settings: RLSettings;
  /** Replays rollouts of full depth as if they had exited where the gate says. */
  readonly pretendsExits?: boolean;
}

/** Difficulties are drawn alike at all times: rewards of different updates can be compared. */
const settingsOf = (own: object): RLSettings =>
  parseRLSettings({
    groups: 32,
    groupSize: 8,
    maxNewTokens: MAX_NEW_TOKENS,
    curriculum: { uniformShare: 1 },
    ...own,
  });

/** What an answer at full depth costs where depth is an action, in rewards. */
export const DEPTH_PRICE = 0.2;
const depthAsAction = {
  policy: { credit: { kind: 'depth-action' } },
  depth: { price: DEPTH_PRICE },
  // in rewards, as the price is: else depth is all that counts where all answers are right, or none
  advantages: { dividesByDeviation: false },
};

const ofLoops = (weights: string) =>
  settingsOf({
    exitPolicy: 'full',
    policy: { credit: { kind: 'loops', weights }, ratio: { kind: 'none' } },
  });

export const ARMS = {
  grpo: {
    title: 'GRPO, full depth',
    settings: settingsOf({
      exitPolicy: 'full',
      policy: { ratio: { kind: 'clip' } },
      advantages: { lengthNorm: 'sequence' },
    }),
  },
  cispo: {
    title: 'CISPO, exits drawn and replayed',
    settings: settingsOf({}),
  },
  'full-as-early': {
    title: 'drawn at full depth, trained at exits',
    settings: settingsOf({ exitPolicy: 'full', policy: { ratio: { kind: 'none' } } }),
    pretendsExits: true,
  },
  'early-as-full': {
    title: 'drawn at exits, trained at full depth',
    settings: settingsOf({ policy: { credit: { kind: 'last-loop' }, ratio: { kind: 'none' } } }),
  },
  depth: {
    title: 'depth as an action',
    settings: settingsOf(depthAsAction),
  },
  'depth-last-exited': {
    title: 'depth as an action, last-exited',
    settings: settingsOf({ ...depthAsAction, kvPolicy: 'last-exited' }),
  },
  'rltt-uniform': { title: 'RLTT, uniform', settings: ofLoops('uniform') },
  'rltt-progressive': { title: 'RLTT, progressive', settings: ofLoops('progressive') },
  'rltt-exit-pdf': { title: 'RLTT, exit pdf', settings: ofLoops('exit-pdf') },
} as const satisfies Readonly<Record<string, Arm>>;

export type ArmName = keyof typeof ARMS;

export const armOf = (name: ArmName): Arm => ARMS[name];

/** What is compared in each experiment. */
export const EXPERIMENTS = {
  'rl-depth': ['grpo', 'depth', 'depth-last-exited'],
  'rl-fixed-path': ['cispo', 'grpo', 'full-as-early', 'early-as-full'],
  'rl-objectives': ['grpo', 'cispo', 'rltt-uniform', 'rltt-progressive', 'rltt-exit-pdf', 'depth'],
  'rl-throughput': ['grpo', 'depth', 'depth-last-exited'],
} as const satisfies Readonly<Record<string, readonly ArmName[]>>;

export type ExperimentName = keyof typeof EXPERIMENTS;

/** @throws ConfigError for a name that is none */
export function experimentsOf(names: readonly string[]): readonly ExperimentName[] {
  const known = Object.keys(EXPERIMENTS) as ExperimentName[];
  if (names.length === 1 && names[0] === 'all') return known;
  return names.map((name) => {
    const found = known.find((one) => one === name);
    if (found !== undefined) return found;
    throw new ConfigError(
      'experiment',
      `There is no experiment ${name}; name some of ${known.join(', ')}, or all, or report.`,
    );
  });
}
