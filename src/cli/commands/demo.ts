/**
 * `looplm demo`: the bundled model answers an easy and a hard question of each kind, and shows how deep
 * it went for each. What `npm start` runs.
 *
 * The questions are drawn as somebody types them: nothing is chosen for the model.
 */
import type { Command } from 'commander';
import { drawAt, trainedDifficulties } from '../../../recipes/bundled/curriculum.js';
import type { TaskDefinition, Turn } from '../../../recipes/bundled/problem.js';
import { replyText, textOf } from '../../../recipes/bundled/problem.js';
import { TASKS } from '../../../recipes/bundled/tasks/index.js';
import { generatorFor } from '../../data/index.js';
import type { LoopLM } from '../../loop-lm.js';
import { modelCost } from '../../model/index.js';
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
  looplm demo --seed 5                  other questions
`;

/** Longer than any right reply. */
const MAX_NEW_TOKENS = 24;
/** Of a line. */
const MAX_WIDTH = 100;
const DEFAULT_SEED = 1;

export function registerDemo(program: Command, io: CliIo): void {
  const command = program
    .command('demo')
    .description('watch the bundled model answer easy and hard questions')
    .addHelpText('after', EXAMPLES);
  addEngineFlags(command)
    .option('--exit-policy <spec>', "when a token stops looping (default: cdf, the model's own)")
    .option('--seed <n>', 'chooses the questions', parseWhole, DEFAULT_SEED)
    .option('--json', 'print one JSON object with all answers')
    .action((flags: Flags) => withModel(flags, io, (model) => demo(model, flags, io)));
}

/** A word of a reply, and how many loops it took. */
interface Word {
  readonly text: string;
  readonly depth: number;
}

interface Answer {
  readonly task: string;
  readonly difficulty: number;
  readonly question: string;
  readonly reply: string;
  readonly rightReply: string;
  readonly isRight: boolean;
  /** Of the word that answers, or stands where it should. */
  readonly exitDepth: number;
  readonly words: readonly Word[];
  readonly executedLoops: number;
  readonly fullDepthLoops: number;
}

async function demo(model: LoopLM, flags: Flags, io: CliIo): Promise<void> {
  const print = flags.json ? () => {} : (line: string) => void io.stdout.write(`${line}\n`);
  const style = styleOf(io);
  const { numLoops } = model.config;
  for (const line of introduction(model, style)) print(line);
  const answers: Answer[] = [];
  for (const task of TASKS) {
    print(`\n${style.bold(task.name)}  ${task.description}`);
    for (const turn of questionsOf(task, flags.seed)) {
      const answer = await ask(model, task, turn, flags, io);
      answers.push(answer);
      for (const line of wrapped(answer.question, io.stdout.columns ?? 100)) print(`  ${line}`);
      print(`    ${answerLine(answer, numLoops, style)}`);
    }
  }
  for (const line of conclusion(answers, numLoops)) print(line);
  if (flags.json) {
    io.stdout.write(`${JSON.stringify({ ...totals(answers), answers })}\n`);
  }
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
    `It stops where its exit gate says so; colours and bars show after how many loops: ${depthLegend(style, config.numLoops)}`,
  ];
}

/** A question of the least trained difficulty and one of the greatest; one where there is one. */
function questionsOf(task: TaskDefinition, seed: number): Turn[] {
  const difficulties = trainedDifficulties(task);
  const shown = [...new Set([difficulties[0]!, difficulties.at(-1)!])];
  const place = TASKS.indexOf(task);
  return shown.map((difficulty) => {
    const rng = generatorFor(seed, place, difficulty);
    return drawAt(rng, task, task.lessons.at(-1)!, difficulty).turns[0]!;
  });
}

async function ask(
  model: LoopLM,
  { name }: TaskDefinition,
  { asked, reply, difficulty }: Turn,
  { exitPolicy }: Flags,
  io: CliIo,
): Promise<Answer> {
  const question = textOf(asked);
  const rightReply = replyText(reply);
  return interruptible(io, async (signal) => {
    const options = { maxNewTokens: MAX_NEW_TOKENS, exitPolicy, cachePrefix: false, signal };
    const words: Word[] = [];
    for await (const event of model.chat([{ role: 'user', content: question }], options)) {
      if (event.kind === 'token') {
        words.push({ text: event.text, depth: event.exitDepth });
        continue;
      }
      if (event.finishReason === 'aborted') throw new InterruptedError();
      const said = event.answer.trim();
      const place = model.tokenizer?.encode(reply.before).length ?? 0;
      return {
        task: name,
        difficulty,
        question,
        reply: said,
        rightReply,
        isRight: said === rightReply,
        exitDepth: (words[place] ?? words.at(-1))?.depth ?? 0,
        words,
        executedLoops: event.executedLoops,
        fullDepthLoops: event.fullDepthLoops,
      };
    }
    throw new InterruptedError();
  });
}

function answerLine(
  { words, isRight, rightReply, exitDepth }: Answer,
  numLoops: number,
  style: Style,
): string {
  const said = words.map(({ text, depth }) => style.depth(text, depth)).join('');
  const judgement = isRight ? 'right' : `not right: ${rightReply}`;
  return `${depthBar(style, exitDepth, numLoops)} ${exitDepth} of ${numLoops}  ${said}  ${style.dim(judgement)}`;
}

/** A text in lines that fit, as far as its words allow. */
function wrapped(text: string, columns: number): string[] {
  const width = Math.min(MAX_WIDTH, columns) - 2;
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines;
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
    'Ask it yourself:    npx looplm chat',
    'Hold it to a depth: npx looplm demo --exit-policy fixed:1',
  ];
}
