/**
 * `looplm demo`: the bundled model answers problems of growing difficulty, and shows how deep it
 * went for each. What `npm start` runs.
 *
 * The problems are held out: training has seen none of them.
 */
import type { Command } from 'commander';
import type { Problem, TaskDefinition } from '../../../recipes/bundled/tasks.js';
import { TASKS } from '../../../recipes/bundled/tasks.js';
import { heldOutProblems } from '../../../recipes/bundled/test-problems.js';
import { modelCost } from '../../model/index.js';
import type { LoopLM, TextFinishEvent } from '../../loop-lm.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { parseWhole } from '../parse-flags.js';
import type { Style } from '../style.js';
import { depthBar, depthLegend, styleOf } from '../style.js';
import { loopsSaved } from '../summary.js';

type Flags = ModelFlags & {
  readonly exitPolicy?: string;
  readonly seed: number;
  readonly json?: true;
};

const EXAMPLES = `
Examples:
  looplm demo
  looplm demo --exit-policy fixed:1     what one loop can do
  looplm demo --seed 5                  other problems
`;

/** Problems shown, shared among the tasks. */
const NUM_PROBLEMS = 12;
const NUM_SHOWN = Math.floor(NUM_PROBLEMS / Object.keys(TASKS).length);
const DEFAULT_SEED = 1;

export function registerDemo(program: Command, io: CliIo): void {
  const command = program
    .command('demo')
    .description('watch the bundled model answer problems of growing difficulty')
    .addHelpText('after', EXAMPLES);
  addEngineFlags(command)
    .option('--exit-policy <spec>', "when a token stops looping (default: cdf, the model's own)")
    .option('--seed <n>', 'chooses the problems', parseWhole, DEFAULT_SEED)
    .option('--json', 'print one JSON object with all answers')
    .action((flags: Flags) => withModel(flags, io, (model) => demo(model, flags, io)));
}

interface Answer {
  readonly task: string;
  readonly difficulty: number;
  readonly problem: string;
  readonly answer: string;
  readonly rightAnswer: string;
  readonly isRight: boolean;
  readonly exitDepth: number;
  readonly executedLoops: number;
  readonly fullDepthLoops: number;
}

async function demo(model: LoopLM, flags: Flags, io: CliIo): Promise<void> {
  const print = flags.json ? () => {} : (line: string) => void io.stdout.write(`${line}\n`);
  const style = styleOf(io);
  for (const line of introduction(model, style)) print(line);
  const answers: Answer[] = [];
  for (const task of Object.values(TASKS)) {
    print(`\n${style.bold(task.name)}  ${task.description}`);
    for (const problem of problemsOf(task, flags.seed)) {
      const answer = await solve(model, problem, flags, io);
      answers.push(answer);
      print(answerLine(answer, model.config.numLoops, style, io.stdout.columns ?? 100));
    }
  }
  for (const line of conclusion(answers, model.config.numLoops)) print(line);
  if (flags.json) io.stdout.write(`${JSON.stringify({ ...totals(answers), answers })}\n`);
}

function introduction({ config }: LoopLM, style: Style): string[] {
  const { parameters } = modelCost(config, {
    context: 1,
    weights: 'f32',
    cacheDtype: 'f32',
  });
  const millions = (parameters.total / 1e6).toFixed(2);
  return [
    `A model of ${millions} million parameters in ${config.numHiddenLayers} layers, which it may run up to ${config.numLoops} times for a token.`,
    `It stops where its exit gate says so; the bar shows after how many loops: ${depthLegend(style, config.numLoops)}`,
  ];
}

/** Held-out problems from the easiest to the hardest trained difficulty. */
function problemsOf(task: TaskDefinition, seed: number): Problem[] {
  const { maxTrainedDifficulty: hardest } = task;
  const difficulties = Array.from({ length: NUM_SHOWN }, (_, index) =>
    Math.round(1 + (index * (hardest - 1)) / (NUM_SHOWN - 1)),
  );
  return difficulties.flatMap((difficulty) => {
    const drawn = heldOutProblems(task, difficulty, 20, seed);
    return drawn[seed % Math.max(1, drawn.length)] ?? [];
  });
}

async function solve(model: LoopLM, problem: Problem, flags: Flags, io: CliIo): Promise<Answer> {
  const finish: TextFinishEvent = await interruptible(io, (signal) =>
    model.complete(problem.text, {
      maxNewTokens: 1,
      exitPolicy: flags.exitPolicy,
      cachePrefix: false,
      signal,
    }),
  );
  if (finish.finishReason === 'aborted') throw new InterruptedError();
  const right = problem.answers.at(-1)!.answer;
  return {
    task: problem.task,
    difficulty: problem.difficulty,
    problem: problem.text,
    answer: finish.text.trim(),
    rightAnswer: right.trim(),
    isRight: finish.text === right,
    exitDepth: finish.exitDepths[0] ?? 0,
    executedLoops: finish.executedLoops,
    fullDepthLoops: finish.fullDepthLoops,
  };
}

const PROBLEM_WIDTH = { min: 24, max: 64 } as const;

function answerLine(answer: Answer, numLoops: number, style: Style, columns: number): string {
  const { difficulty, isRight, rightAnswer, exitDepth } = answer;
  const rest = 38 + 2 * numLoops;
  const width = Math.max(PROBLEM_WIDTH.min, Math.min(PROBLEM_WIDTH.max, columns - rest));
  const moves = `${difficulty} ${difficulty === 1 ? 'move ' : 'moves'}`.padStart(10);
  const shown = style.depth(answer.answer.padEnd(2), exitDepth);
  return `${moves}  ${shorten(answer.problem, width).padEnd(width)} -> ${shown} ${(isRight ? 'right' : `not ${rightAnswer}`).padEnd(5)}  ${depthBar(style, exitDepth, numLoops)} ${exitDepth} of ${numLoops}`;
}

/** A problem without the clauses in its middle that do not fit; its end tells more than its start. */
function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const clauses = text.match(/[^;]+;/g) ?? [];
  let [head, tail] = ['', ''];
  const fits = (clause: string, share: number) =>
    head.length + tail.length + clause.length + ' ...'.length <= width * share;
  while (fits(clauses.at(-1)!, 2 / 3)) tail = clauses.pop()! + tail;
  while (fits(clauses[0]!, 1)) head += clauses.shift()!;
  return `${head} ...${tail}`.trim();
}

function totals(answers: readonly Answer[]) {
  const sum = (of: (answer: Answer) => number) =>
    answers.reduce((total, answer) => total + of(answer), 0);
  return {
    numRight: sum(({ isRight }) => (isRight ? 1 : 0)),
    meanDepth: sum(({ exitDepth }) => exitDepth) / answers.length,
    executedLoops: sum(({ executedLoops }) => executedLoops),
    fullDepthLoops: sum(({ fullDepthLoops }) => fullDepthLoops),
  };
}

function conclusion(answers: readonly Answer[], numLoops: number): string[] {
  const { numRight, meanDepth, executedLoops, fullDepthLoops } = totals(answers);
  return [
    '',
    `${numRight} of ${answers.length} right, mean depth ${meanDepth.toFixed(2)} of ${numLoops}, ${loopsSaved(executedLoops, fullDepthLoops)}`,
    '',
    "Ask it yourself:    npx looplm generate --prompt 'cup 3; swap 2 3; swap 1 5;'",
    'Hold it to a depth: npx looplm demo --exit-policy fixed:1',
  ];
}
