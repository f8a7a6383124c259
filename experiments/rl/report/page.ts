/** The page of the experiments: questions, tables, pictures, verdicts; no figure of it is typed by hand. */
import { cheapestPoint, mean } from 'looplm/eval';
import { provenanceText } from '../../../benchmarks/lib/harness.js';
import { percent, table, times } from '../../../benchmarks/lib/markdown.js';
import { distribution, medianRatio } from '../../../benchmarks/lib/statistics.js';
import type { ArmName, ExperimentName } from '../arms.js';
import { ARMS, DEPTH_PRICE, EXPERIMENTS } from '../arms.js';
import type { Deployment } from '../deployments.js';
import type { Points, Result, UpdateFigure } from '../figures.js';
import { FEWEST, MOST, UNKNOWN_FRACTION } from '../language.js';
import { FINDINGS } from './findings.js';
import { depthChart, fixedPathCharts, frontierPicture, objectivesChart } from './pictures.js';
import type { NamedFrontier } from './series.js';
import { bestWithin, finalOf, fullAccuracy, overRuns, runsOf } from './series.js';
import { earlyMean, lateMean, spreadText } from '../../lib/spread.js';

export interface Section {
  readonly text: string;
  /** SVG by file name. */
  readonly pictures: Readonly<Record<string, string>>;
}

const picture = (name: string, what: string) => `![${what}](images/${name})`;

/** A figure over the updates of each run: its mean in the last quarter. */
const late = (result: Result, arm: ArmName, figure: UpdateFigure, digits = 3): string =>
  spreadText(
    runsOf(result, arm).map(({ updates }) => lateMean(updates[figure])),
    digits,
  );

/** Reward of rollouts in the first and in the last quarter of the updates. */
function quarters(result: Result, arm: ArmName): string {
  const rewards = runsOf(result, arm).map(({ updates }) => updates.reward);
  return [rewards.map(earlyMean), rewards.map(lateMean)]
    .map((values) => spreadText(values))
    .join(', ');
}

const final = (
  result: Result,
  arm: ArmName,
  deployment: Deployment,
  figure: 'reward' | 'meanDepth' | 'executedShare',
): string => spreadText(finalOf(result, arm, deployment, figure), figure === 'meanDepth' ? 2 : 3);

function fixedPathSection(result: Result): Section {
  const pictures = fixedPathCharts(result);
  const { sampled, full } = result.start.deployed;
  const rows = EXPERIMENTS['rl-fixed-path'].map((arm) => [
    ARMS[arm].title,
    late(result, arm, 'divergence', 4),
    quarters(result, arm),
    final(result, arm, 'sampled', 'reward'),
    final(result, arm, 'cdf:0.5', 'reward'),
    final(result, arm, 'full', 'reward'),
    final(result, arm, 'sampled', 'meanDepth'),
  ]);
  const before = ['the start', '', '', sampled!, result.start.deployed['cdf:0.5']!, full!].map(
    (it) => (typeof it === 'string' ? it : it.reward.toFixed(3)),
  );
  return {
    pictures,
    text: [
      `All arms draw as many rollouts from the same start. What an engine of fixed depth draws is trained where the gate would have exited, or what was drawn at exits is trained at full depth; beside them rollouts that are trained as they were drawn. The mismatch is the mean log-probability of a drawn token by the rollout less that by the trainer, before the update.`,
      picture('rl-fixed-path.svg', 'Reward, depth and mismatch over the updates'),
      picture('rl-fixed-path-deployed.svg', 'Reward of fresh problems by deployment'),
      table(
        [
          'trained',
          'mismatch, nats a token',
          'rollouts, first and last quarter',
          'reward, exits drawn',
          'reward, `cdf:0.5`',
          'reward, full depth',
          'exit depth, drawn',
        ],
        [[...before, sampled!.meanDepth.toFixed(2)], ...rows],
      ),
    ].join('\n\n'),
  };
}

/** Loops that depth as an action shall save against fixed depth. */
const SAVING_GOAL = 0.25;

function depthSection(result: Result): Section {
  const row = (name: string, arm: ArmName, deployment: Deployment) => [
    `${ARMS[arm].title}, ${name}`,
    final(result, arm, deployment, 'reward'),
    final(result, arm, deployment, 'meanDepth'),
    final(result, arm, deployment, 'executedShare'),
    ...(ownDeployment(arm) === deployment
      ? [quarters(result, arm), late(result, arm, 'executedShare')]
      : ['', '']),
  ];
  const startRow = (name: string, deployment: Deployment) => {
    const { reward, meanDepth, executedShare } = result.start.deployed[deployment]!;
    return [name, reward.toFixed(3), meanDepth.toFixed(2), executedShare.toFixed(3), '', ''];
  };
  const frontiers = frontiersOf(result);
  return {
    pictures: {
      'rl-depth.svg': depthChart(result),
      'rl-depth-frontier.svg': frontierPicture(frontiers),
    },
    text: [
      `Depth as an action: exits are drawn, credited, and cost ${DEPTH_PRICE} reward at full depth, less in proportion; advantages are in rewards, not divided by the deviation of their group. Once under \`per-loop\`, where a token that goes deep first runs the loops that all before it lack, and once under \`last-exited\`, where it reads what they left when they exited, in rollouts, replay and looks alike. Against it GRPO with rollouts of full depth, which is run at full depth. "Loops run" counts the prompt and what an early exit owes: of answers to one prompt each, and of rollouts, in which ${ARMS.grpo.settings.groupSize} answers share a prompt. Figures of rollouts, which are sampled, are of the first and the last quarter of the updates, or of the last.`,
      picture('rl-depth.svg', 'Reward, exit depth and loops run over the updates'),
      table(
        [
          'run',
          'reward',
          'mean exit depth',
          'loops run',
          'reward of rollouts, first and last',
          'loops run in rollouts',
        ],
        [
          startRow('the start, full depth', 'full'),
          startRow('the start, exits drawn', 'sampled'),
          row('run at full depth', 'grpo', 'full'),
          row('exits drawn', 'grpo', 'sampled'),
          ...DEPTH_ARMS.flatMap((arm) => [
            row('exits drawn', arm, 'sampled'),
            row('`cdf:0.5`', arm, 'cdf:0.5'),
            row('run at full depth', arm, 'full'),
          ]),
        ],
      ),
      `**Goal: at least the reward of fixed depth with ${percent(SAVING_GOAL)} fewer loops run.**`,
      DEPTH_ARMS.map((arm) => savingVerdict(result, arm)).join('\n'),
      `The frontier: the hard word alone, the beginning of the reply given, over the thresholds of the gate or of the readout's confidence. Stage II gates are those of the start, trained on the same problems.`,
      picture('rl-depth-frontier.svg', 'Accuracy by mean depth, by what decides'),
      table(
        [
          'decided by',
          'at full depth',
          'least depth for 99 % of it',
          'within depth 2',
          'within depth 3',
        ],
        frontiers.map((one) => [
          one.name,
          percent(overRuns(one, fullAccuracy), 1),
          overRuns(one, cheapDepth).toFixed(2),
          percent(
            overRuns(one, (points) => bestWithin(points, 2)),
            1,
          ),
          percent(
            overRuns(one, (points) => bestWithin(points, 3)),
            1,
          ),
        ]),
      ),
      frontierVerdict(frontiers),
    ].join('\n\n'),
  };
}

const cheapDepth = (points: Points): number =>
  cheapestPoint(points, 0.99 * fullAccuracy(points))!.meanDepth;

/** Greedy answers to a prompt each, and sampled ones in groups: reward, and loops run, against fixed depth. */
function savingVerdict(result: Result, arm: ArmName): string {
  const greedy = (of: ArmName, figure: 'reward' | 'executedShare') =>
    mean(finalOf(result, of, ownDeployment(of), figure));
  const sampled = (of: ArmName, figure: 'reward' | 'executedShare') =>
    mean(runsOf(result, of).map(({ updates }) => lateMean(updates[figure])));
  const verdict = (of: typeof greedy) => {
    const [own, fixed] = [of(arm, 'reward'), of('grpo', 'reward')];
    const saved = 1 - of(arm, 'executedShare') / of('grpo', 'executedShare');
    const isReached = own >= fixed && saved >= SAVING_GOAL;
    return `${isReached ? 'reached' : 'missed'} (reward ${own.toFixed(3)} against ${fixed.toFixed(3)}, ${percent(saved, 1)} fewer loops)`;
  };
  return `- ${ARMS[arm].title}: in rollouts ${verdict(sampled)}; in greedy answers to a prompt each ${verdict(greedy)}.`;
}

const DEPTH_ARMS = ['depth', 'depth-last-exited'] as const satisfies readonly ArmName[];
const OWN_FRONTIER = 'gate after depth as an action';
/** Of the start; what the goal names. */
const RIVALS = [
  'gate of stage I',
  'gate of stage II, published labels',
  'gate of stage II, forward labels',
  'confidence of the start',
] as const;

function frontiersOf(result: Result): readonly NamedFrontier[] {
  const { start, gates } = result;
  const [stageOne, published, forward, confidence] = RIVALS;
  const of = (arm: ArmName, decider: 'gate' | 'confidence') =>
    runsOf(result, arm).map(({ frontiers }) => frontiers[decider]);
  return [
    { name: OWN_FRONTIER, runs: of('depth', 'gate') },
    { name: 'confidence after depth as an action', runs: of('depth', 'confidence') },
    { name: 'gate after GRPO', runs: of('grpo', 'gate') },
    { name: 'confidence after GRPO', runs: of('grpo', 'confidence') },
    { name: stageOne, runs: [start.frontiers.gate] },
    ...(gates
      ? [
          { name: published, runs: [gates.published] },
          { name: forward, runs: [gates.forward] },
        ]
      : []),
    { name: confidence, runs: [start.frontiers.confidence] },
  ];
}

/** Mean depths at which frontiers are held against each other. */
const COMPARED_DEPTHS = [1.5, 2, 2.5, 3, 3.5, 4];

function frontierVerdict(frontiers: readonly NamedFrontier[]): string {
  const best = (name: string, depth: number) =>
    overRuns(
      frontiers.find((one) => one.name === name)!,
      (points) => bestWithin(points, depth),
    );
  const isBeaten = (rival: string) =>
    COMPARED_DEPTHS.every((depth) => best(OWN_FRONTIER, depth) >= best(rival, depth));
  const present = RIVALS.filter((rival) => frontiers.some(({ name }) => name === rival));
  const left = present.filter((rival) => !isBeaten(rival));
  const goal = `**Goal: the frontier after RL beats stage I, stage II and the confidence readout of the start, at mean depths ${COMPARED_DEPTHS.join(', ')}.`;
  return left.length === 0 ? `${goal} Reached.**` : `${goal} Missed** against: ${left.join('; ')}.`;
}

/** How policies are run that were trained with these exits. */
const ownDeployment = (arm: ArmName): Deployment =>
  ARMS[arm].settings.exitPolicy === 'full' ? 'full' : 'sampled';

const seconds = (result: Result, arm: ArmName, figure: 'rolloutSeconds' | 'updateSeconds') =>
  runsOf(result, arm).map(({ updates }) => mean(updates[figure]));

function objectivesSection(result: Result): Section {
  const rows = EXPERIMENTS['rl-objectives'].map((arm) => {
    const own = ownDeployment(arm);
    return [
      ARMS[arm].title,
      own,
      quarters(result, arm),
      final(result, arm, own, 'reward'),
      final(result, arm, own, 'meanDepth'),
      final(result, arm, own, 'executedShare'),
      final(result, arm, 'full', 'reward'),
      final(result, arm, 'cdf:0.5', 'reward'),
      spreadText(seconds(result, arm, 'rolloutSeconds'), 2),
      spreadText(seconds(result, arm, 'updateSeconds'), 2),
    ];
  });
  return {
    pictures: { 'rl-objectives.svg': objectivesChart(result) },
    text: [
      'Each arm with as many rollouts and updates from the same start. "Own exits" are those it was trained with.',
      picture('rl-objectives.svg', 'Reward of fresh problems over the updates, by objective'),
      table(
        [
          'objective',
          'own exits',
          'rollouts, first and last quarter',
          'reward',
          'exit depth',
          'loops run',
          'reward, full depth',
          'reward, `cdf:0.5`',
          'rollouts, s an update',
          'replay and update, s',
        ],
        rows,
      ),
    ].join('\n\n'),
  };
}

function throughputSection(result: Result): Section {
  const { tokensPerSecond, executedShare } = result.throughput!;
  const rates = Object.entries(tokensPerSecond).map(([name, values]) => {
    const { min, p50 } = distribution(values);
    return [name, p50.toFixed(0), min.toFixed(0), executedShare[name]!.toFixed(3)];
  });
  const models = [...new Set(Object.keys(tokensPerSecond).map((name) => name.split(', ')[0]!))];
  const ratios = models.map((model) => {
    const [own, fixed] = ['by depth', 'fixed path'].map(
      (path) => tokensPerSecond[`${model}, ${path}`]!,
    );
    return `${model}: ${times(medianRatio(own!, fixed!))} the fixed path`;
  });
  const shares = EXPERIMENTS['rl-throughput'].map((arm) => {
    const bySeed = seconds(result, arm, 'rolloutSeconds');
    const rollouts = Math.min(...bySeed);
    const updates = seconds(result, arm, 'updateSeconds')[bySeed.indexOf(rollouts)]!;
    return [
      ARMS[arm].title,
      rollouts.toFixed(2),
      updates.toFixed(2),
      percent(rollouts / (rollouts + updates)),
    ];
  });
  return {
    pictures: {},
    text: [
      'New tokens of rollouts a second, records included, with exits drawn and rows of all depths in one batch, against all loops for every token; the same prompts in each round, 8 answers to a prompt, which is computed once. One thread.',
      table(['model, path', 'tokens/s, median', 'least', 'loops run'], rates),
      `${ratios.join('; ')} (median of the ratio within a round).`,
      'What an update consists of, in the quickest run of each arm, two at a time on two cores (others had to share them):',
      table(['arm', 'rollouts, s', 'replay and update, s', 'share of the rollouts'], shares),
    ].join('\n\n'),
  };
}

const SECTIONS: Readonly<
  Record<ExperimentName, { readonly title: string; readonly write: (result: Result) => Section }>
> = {
  'rl-fixed-path': { title: 'The fixed path', write: fixedPathSection },
  'rl-depth': { title: 'Depth as an action', write: depthSection },
  'rl-objectives': { title: 'Objectives', write: objectivesSection },
  'rl-throughput': { title: 'Throughput', write: throughputSection },
};

/** What an experiment found, with its pictures. */
export function sectionOf(name: ExperimentName, result: Result): Section {
  const { title, write } = SECTIONS[name];
  const { pictures, text } = write(result);
  const origin = `${provenanceText(result)} \`npm run experiment:rl -- ${name}\``;
  return {
    pictures,
    text: [`## ${title}`, text, FINDINGS[name], origin].filter((part) => part !== '').join('\n\n'),
  };
}

/** The page, with the sections that there are results of. */
export function pageOf(results: ReadonlyMap<ExperimentName, Result>): Section {
  const sections = (Object.keys(SECTIONS) as ExperimentName[]).flatMap((name) => {
    const result = results.get(name);
    return result ? [sectionOf(name, result)] : [];
  });
  const [first] = results.values();
  const start = first
    ? `It solves ${percent(first.start.deployed.full!.reward)} of the problems at full depth, and ${percent(first.start.deployed.sampled!.reward)} with exits drawn from its gate.`
    : '';
  return {
    pictures: Object.assign({}, ...sections.map(({ pictures }) => pictures)) as Record<
      string,
      string
    >,
    text: `${[
      '# Experiments: reinforcement learning at varying depth',
      `Written by \`npm run experiment:rl -- report\` from \`experiments/rl/results\`. The question in each is what comes of rewards when tokens exit at depths of their own; formulas are in [math.md](math.md#policy-gradient), settings in [rl.md](rl.md).`,
      `The task is the bundled language's ball under five cups, a whole sentence as the reply ("It's under cup 4."), after ${FEWEST} to ${MOST} swaps. The start, the same for all runs, was trained by stage I on conversations of at most 4 swaps, in which ${percent(UNKNOWN_FRACTION)} of the replies are "I don't know.": what is to be learnt first is to answer, and then to be right. ${start} Rewards and depths are of greedy replies to fresh problems, the same for all, unless they are said to be of rollouts, which are sampled. Figures are means over seeds of reinforcement learning, with the deviation of the sample; so are the bands of the pictures. Runs are processes of one thread, two at a time; what they come to does not depend on that.`,
      ...sections.map(({ text }) => text),
    ].join('\n\n')}\n`,
  };
}
