/**
 * The figures of the bundled model as markdown: the tables of its model card and of the README.
 */
import type { PrefillMode } from 'looplm/engine';
import { mean, meanRows } from 'looplm/eval';
import { TASK_NAMES } from '../tasks/index.js';
import type { Cell, Comparison, Evaluation, GateName } from './figures.js';
import {
  at,
  depths,
  meanOverQuestions,
  percent,
  section,
  shareWithInterval,
  table,
} from './markdown.js';
import { cheapestOfPolicies } from './measure.js';
import type { Kind } from './question-sets.js';
import type { Rival } from './rivals.js';
import {
  accuracyOverTasks,
  comparedModels,
  rivalShare,
  rivalsOf,
  seedSentence,
  seedTable,
} from './rivals.js';
import type { PolicyPoint, StreamedWay } from './streams.js';
import { STREAMED_WAYS, cheapestAdaptive, policySpec } from './streams.js';

/** All tables, for the model card. */
export function evaluationTables(evaluation: Evaluation, comparison?: Comparison): string {
  const rivals = rivalsOf(comparison);
  return [
    summary(evaluation, rivals),
    unseenTable(evaluation, rivals),
    heldOutStarts(evaluation, rivals),
    comparison ? seedTable(comparison) : '',
    comparison ? comparedModels(comparison) : '',
    byDifficulty(evaluation, rivals),
    policyTable(evaluation),
    gateTable(evaluation),
    adaptiveTable(evaluation),
    streamTable(evaluation),
    moreLoops(evaluation),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** The few lines of the README. */
export function readmeTables(evaluation: Evaluation, comparison?: Comparison): string {
  const { model, trained, unseen } = evaluation;
  const full = (cells: readonly Cell[], task: string) =>
    shareWithInterval(
      cells.filter((cell) => cell.task === task),
      model.numLoops,
    );
  const newWording = unseen.filter(({ kind }) => kind === 'held-out-wording');
  return [
    'Right answers at full depth, with 95 % intervals, to questions as somebody types them: every trained difficulty alike, nothing filtered.',
    table(
      ['', 'trained wordings', 'wordings never trained'],
      TASK_NAMES.map((task) => [task, full(trained, task), full(newWording, task)]),
    ),
    [
      weakestSentence(evaluation),
      ...(comparison ? seedSentence(comparison) : []),
      cheapestAdaptiveSentence(evaluation),
    ].join(' '),
  ].join('\n\n');
}

const ofTask = <One extends { readonly task: string }>(cells: readonly One[], task: string) =>
  cells.filter((cell) => cell.task === task);

function summary(evaluation: Evaluation, rivals: readonly Rival[]): string {
  const { model, trained, rankCorrelation, gates, shipped } = evaluation;
  const full = repliesOf(evaluation, {
    gate: model.gate,
    point: { policy: 'fixed', threshold: model.numLoops },
  });
  const rows = TASK_NAMES.map((task) => {
    const cells = ofTask(trained, task);
    return {
      task,
      numQuestions: cells.reduce((sum, { n }) => sum + n, 0),
      reply: full?.accuracyByTask[task] ?? NaN,
      accuracies: depths(model.numLoops).map((depth) =>
        meanOverQuestions(cells, (cell) => at(cell, depth)),
      ),
      exitDepth: meanOverQuestions(cells, ({ meanExitDepth }) => meanExitDepth),
    };
  });
  const { cheapest, equalDifficulties: equal } = gates[0]!;
  return [
    `Accuracy on questions as somebody types them: every trained difficulty alike, the trained phrasings mixed, nothing filtered. "Reply" is the whole sentence, greedy, at full depth; the depths are its one word that answers, the beginning of the sentence given. "Exit depth" is the mean under \`cdf:${model.exitThreshold}\`, with which the model ships, and "rank" its rank correlation with difficulty. The last row is the mean over tasks.`,
    table(
      [
        'task',
        'questions',
        'reply',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        ...rivals.map(({ variant }) => variant),
        'exit depth',
        'rank',
      ],
      [
        ...rows.map(({ task, numQuestions, reply, accuracies, exitDepth }) => [
          task,
          String(numQuestions),
          percent(reply),
          ...accuracies.map(percent),
          ...rivals.map((rival) => rivalShare(rival, 'uniform', task)),
          exitDepth.toFixed(2),
          rankCorrelation[task]?.toFixed(2) ?? '',
        ]),
        [
          'mean',
          String(rows.reduce((sum, { numQuestions }) => sum + numQuestions, 0)),
          percent(mean(rows.map(({ reply }) => reply))),
          ...meanRows(rows.map(({ accuracies }) => accuracies)).map(percent),
          ...rivals.map((rival) => percent(accuracyOverTasks(rival))),
          shipped.meanDepth.toFixed(2),
          '',
        ],
      ],
    ),
    `${weakestSentence(evaluation)} ${executedSentence(evaluation)} ${adaptiveSentence(evaluation)}`,
    `The cheapest threshold that keeps 99 % of the full-depth accuracy is ${cheapest.threshold}: ${percent(cheapest.accuracy)} at mean depth ${cheapest.meanDepth.toFixed(2)}, with ${executed(evaluation, { gate: gates[0]!.gate, point: cheapest })} of the loops executed. If every difficulty counts the same instead of every question, it is ${equal.cheapest.threshold}: ${percent(equal.cheapest.accuracy)} of ${percent(equal.fullDepth.accuracy)}, at mean depth ${equal.cheapest.meanDepth.toFixed(2)}. ${cheapestAdaptiveSentence(evaluation)}`,
  ].join('\n\n');
}

/** Which trained difficulty is answered worst. */
function weakestSentence({ model, trained }: Evaluation): string {
  const [weakest] = trained.toSorted((a, b) => at(a, model.numLoops) - at(b, model.numLoops));
  const { task, difficulty } = weakest!;
  return `Answered worst are ${task} of difficulty ${difficulty}: ${shareWithInterval([weakest!], model.numLoops)}.`;
}

/** What early exit saves with the shipped threshold, under each prefill. */
function executedSentence(evaluation: Evaluation): string {
  const { model, shipped } = evaluation;
  const share = (prefill: PrefillMode) =>
    executed(evaluation, { gate: model.gate, point: shipped, prefill });
  const run = repliesOf(evaluation, { gate: model.gate, point: shipped });
  return `With \`${policySpec(shipped)}\` answers exit at mean depth ${shipped.meanDepth.toFixed(2)} of ${model.numLoops}, and ${percent(run?.accuracy ?? NaN)} of the whole replies are right; to the end of the turn, prompt included, that executes ${share('deferred')} of the loops of full depth under \`--prefill deferred\` and ${share('full')} under \`--prefill full\`.`;
}

/** What is lost and saved where the prompt's tokens exit too. */
function adaptiveSentence(evaluation: Evaluation): string {
  const { model, shipped } = evaluation;
  const asked = { gate: model.gate, point: shipped, prefill: 'adaptive' } as const;
  const accuracy = repliesOf(evaluation, asked)?.accuracy ?? NaN;
  return `Another computation, in which prompt tokens exit too (\`--kv-policy last-exited --prefill adaptive\`), executes ${executed(evaluation, asked)} and answers ${percent(accuracy)} right.`;
}

/** What of the loops is needed where the tokens of the question exit too, by the best gate. */
function cheapestAdaptiveSentence(evaluation: Evaluation): string {
  const [best] = evaluation.gates
    .map(({ gate, adaptive }) => {
      return { gate, full: adaptive.at(-1)!.accuracy, ...cheapestAdaptive(adaptive) };
    })
    .toSorted((a, b) => a.executedFraction - b.executedFraction);
  const { gate, threshold, accuracy, executedFraction, full } = best!;
  const point: PolicyPoint = { policy: 'cdf', threshold };
  const run = { gate, point, prefill: 'adaptive' } as const;
  const replies = repliesOf(evaluation, run);
  const whole = replies
    ? `; of whole replies ${percent(replies.accuracy)} with ${executed(evaluation, run)}`
    : '';
  const flags = `--gate ${gate} --exit-policy cdf:${threshold} --kv-policy last-exited --prefill adaptive`;
  return `Where prompt tokens exit too, 99 % is kept most cheaply with \`${flags}\`: ${percent(accuracy)} of ${percent(full)}, with ${percent(executedFraction)} of the loops executed${whole}.`;
}

interface ReplyRun {
  readonly gate: GateName;
  readonly point: PolicyPoint;
  readonly prefill?: PrefillMode;
}

function repliesOf({ replies }: Evaluation, { gate, point, prefill = 'deferred' }: ReplyRun) {
  return replies.find(
    (one) => one.gate === gate && one.prefill === prefill && policySpec(one) === policySpec(point),
  );
}

/** Loops executed of those of full depth, as the engine counted them; by default deferred. */
function executed(evaluation: Evaluation, run: ReplyRun): string {
  const found = repliesOf(evaluation, run);
  return found ? percent(found.executedLoops / found.fullDepthLoops) : '';
}

/** What training never showed: wordings, problems, countries that begin a chain. */
function unseenTable({ model, trained, unseen }: Evaluation, rivals: readonly Rival[]): string {
  const columns = [
    'held-out-wording',
    'held-out-problem',
    'held-out-start',
    'in-conversation',
  ] as const;
  const [wording] = columns;
  const cellsOf = (kind: Kind, task: string) =>
    ofTask(unseen, task).filter((cell) => cell.kind === kind);
  return section(
    'Never trained, and in a conversation',
    `At full depth: the questions of the table above, those in wordings that training never used, problems that it held out, and chains that begin with a country with which no trained chain begins; and questions that follow one of another problem in their chat.${rivals.length > 0 ? ' The compared models on the new wordings.' : ''}`,
    table(
      ['task', 'as above', ...columns, ...rivals.map(({ variant }) => `${variant}, ${wording}`)],
      TASK_NAMES.map((task) => [
        task,
        shareWithInterval(ofTask(trained, task), model.numLoops),
        ...columns.map((kind) => shareWithInterval(cellsOf(kind, task), model.numLoops)),
        ...rivals.map((rival) => rivalShare(rival, wording, task)),
      ]),
    ),
  );
}

/** The claim of the paper in the open: loops add manipulation of what is known. */
function heldOutStarts({ model, unseen }: Evaluation, rivals: readonly Rival[]): string {
  const cells = unseen.filter(({ kind }) => kind === 'held-out-start');
  return section(
    'Facts in a chain, from a country that begins none in training',
    'Each fact alone is trained; what is new is to begin a chain with this country.',
    table(
      [
        'facts',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        ...rivals.map(({ variant }) => variant),
      ],
      cells.map((cell) => [
        String(cell.difficulty),
        ...depths(model.numLoops).map((depth) => percent(at(cell, depth))),
        ...rivals.map((rival) => rivalShare(rival, cell.kind, cell.task, cell.difficulty)),
      ]),
    ),
  );
}

function byDifficulty({ model, trained }: Evaluation, rivals: readonly Rival[]): string {
  return section(
    'By difficulty',
    'Accuracy at each depth, and the mean exit depth at the shipped threshold.',
    table(
      [
        'task',
        'difficulty',
        'n',
        ...depths(model.numLoops).map((depth) => `depth ${depth}`),
        'exit depth',
        ...rivals.map(({ variant }) => variant),
      ],
      trained.map((cell) => [
        cell.task,
        String(cell.difficulty),
        String(cell.n),
        ...depths(model.numLoops).map((depth) => percent(at(cell, depth))),
        cell.meanExitDepth.toFixed(2),
        ...rivals.map((rival) => rivalShare(rival, 'uniform', cell.task, cell.difficulty)),
      ]),
    ),
  );
}

function policyTable(evaluation: Evaluation): string {
  const { frontiers, model } = evaluation;
  return section(
    'Exit policies',
    `With the shipped gate under \`per-loop\`, exact: the least mean depth that keeps 99 % of the full-depth accuracy, and the loops that the engine then executes for the whole text, prompt included, under \`--prefill deferred\`. \`sampled\` and \`oracle\` (stop at the first right answer; nothing that can be run) have no threshold.`,
    table(
      ['policy', 'threshold', 'mean depth', 'executed loops', 'accuracy'],
      cheapestOfPolicies(frontiers).map((point) => [
        `\`${point.policy}\``,
        String(point.threshold ?? ''),
        point.meanDepth.toFixed(2),
        executed(evaluation, { gate: model.gate, point }),
        percent(point.accuracy),
      ]),
    ),
  );
}

function gateTable(evaluation: Evaluation): string {
  const { gates, model } = evaluation;
  const graded = TASK_NAMES.filter((task) => gates[0]!.rankCorrelation[task] !== undefined);
  return section(
    'Exit gates',
    `Q-exit with each gate at its cheapest threshold that keeps 99 % of the full-depth accuracy. The model ships with \`${model.gate}\`; \`--gate NAME\` takes another.`,
    table(
      [
        'gate',
        'threshold',
        'mean depth',
        'executed loops',
        'accuracy',
        'mean depth if drawn',
        'accuracy if drawn',
        ...graded.map((task) => `rank, ${task}`),
      ],
      gates.map(({ gate, cheapest, sampled, rankCorrelation }) => [
        `\`${gate}\``,
        String(cheapest.threshold),
        cheapest.meanDepth.toFixed(2),
        executed(evaluation, { gate, point: cheapest }),
        percent(cheapest.accuracy),
        sampled.meanDepth.toFixed(2),
        percent(sampled.accuracy),
        ...graded.map((task) => rankCorrelation[task]!.toFixed(2)),
      ]),
    ),
  );
}

/** What each gate is worth where every token may exit. */
function adaptiveTable({ gates, provenance }: Evaluation): string {
  const thresholds = gates[0]!.adaptive.map(({ threshold }) => threshold);
  return section(
    'Exits in the question, too',
    `Real runs over ${provenance.streamedPerDifficulty} questions of each difficulty under \`--kv-policy last-exited --prefill adaptive\`, another computation, in which every token exits where the gate says and later ones read what it had come to. Accuracy, and in brackets the loops executed, question included, of those of full depth. \`stage2-everywhere\` was trained on every token: where nothing is to be said, towards what the model itself says there at full depth.`,
    table(
      ['gate', ...thresholds.map((threshold) => `\`cdf:${threshold}\``)],
      gates.map(({ gate, adaptive }) => [
        `\`${gate}\``,
        ...adaptive.map(
          ({ accuracy, executedFraction }) =>
            `${percent(accuracy)} (${(100 * executedFraction).toFixed(0)} %)`,
        ),
      ]),
    ),
  );
}

function streamTable({ streams, provenance }: Evaluation): string {
  const policies = [...new Set(streams.map(policySpec))];
  const outcome = (policy: string, { kvPolicy, prefill }: StreamedWay): string => {
    const point = streams.find(
      (one) => one.kvPolicy === kvPolicy && one.prefill === prefill && policySpec(one) === policy,
    );
    if (!point) return '';
    const computed = (100 * point.executedFraction).toFixed(0);
    return `${percent(point.accuracy)} at ${point.meanDepth.toFixed(2)} (${computed} %)`;
  };
  return section(
    'KV policies',
    `Real runs over ${provenance.streamedPerDifficulty} questions of each difficulty, in which every token of the reply exits where the policy says. The question runs all loops (\`--prefill full\`); in the last column its tokens exit, too (\`--prefill adaptive\`). Accuracy at mean depth of the answers, and in brackets the loops executed for all tokens, question included, of those of full depth.`,
    table(
      [
        'policy',
        ...STREAMED_WAYS.map(({ kvPolicy, prefill }) =>
          prefill === 'full' ? `\`${kvPolicy}\`` : `\`${kvPolicy}\`, \`${prefill}\``,
        ),
      ],
      policies.map((policy) => [
        `\`${policy}\``,
        ...STREAMED_WAYS.map((way) => outcome(policy, way)),
      ]),
    ),
  );
}

function moreLoops({ model, trained, longer }: Evaluation): string {
  const tried = depths(trained[0]!.accuracyByDepth.length).filter(
    (depth) => depth >= model.numLoops,
  );
  const row = (task: string, difficulty: string, cells: readonly Cell[]) => [
    task,
    difficulty,
    ...tried.map((depth) => percent(meanOverQuestions(cells, (cell) => at(cell, depth)))),
  ];
  return section(
    'Deeper and longer than trained',
    `Accuracy at ${model.numLoops} loops, as trained, and at more.`,
    table(
      ['task', 'difficulty', ...tried.map((depth) => `${depth} loops`)],
      TASK_NAMES.flatMap((task) => [
        row(task, 'trained', ofTask(trained, task)),
        ...ofTask(longer, task).map((cell) => row(task, String(cell.difficulty), [cell])),
      ]),
    ),
  );
}
