/**
 * `looplm chat`: answers line by line. A model with a chat template keeps the conversation; any
 * other model gets one line at a time as its whole prompt.
 *
 * Ctrl-C ends the answer that is being printed, or else the chat.
 */
import type { Command } from 'commander';
import { LoopLMError, RequestError } from '../../errors.js';
import type { LoopLM, TextFinishEvent } from '../../loop-lm.js';
import { ChatFile } from '../chat-history.js';
import { CHAT_TEMPLATE_NAMES, chatTemplateOf } from '../chat-template.js';
import type { GenerationFlags } from '../generation-flags.js';
import { addGenerationFlags, generateOptions } from '../generation-flags.js';
import type { CliIo } from '../io.js';
import { tellError } from '../messages.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { finishOf, streamAnswer } from '../stream-answer.js';
import type { Lines } from '../standard-input.js';
import { openLines } from '../standard-input.js';
import { depthLegend, styleOf } from '../style.js';
import { closingLine } from '../summary.js';
import type { History, Talk } from '../talk.js';
import { conversation, separateLines } from '../talk.js';

type Flags = ModelFlags &
  GenerationFlags & {
    readonly chatTemplate?: string;
    readonly system?: string;
    readonly history?: string;
    readonly think?: boolean;
    readonly hideReasoning?: true;
    readonly json?: true;
  };

const EXAMPLES = `
Lines: a message, /new for another conversation, /save FILE, or /exit. Ctrl-C ends an answer, at the
prompt it ends the chat. With --history a conversation goes on where it was left; the file is JSON.

Examples:
  looplm chat                                    one problem a line, with the bundled model
  looplm chat --model ./my-chat-model --temperature 0.7
  looplm chat --model ./my-base-model --chat-template chatml-corrected --system 'Be brief.'
  looplm chat --model ./Ouro-1.4B-Thinking --hide-reasoning --history talk.json
`;

export function registerChat(program: Command, io: CliIo): void {
  const command = program
    .command('chat')
    .description('talk to a chat model, or give problems to the bundled one')
    .addHelpText('after', EXAMPLES);
  addEngineFlags(command)
    .option(
      '--chat-template <source>',
      `instead of the model's own: ${CHAT_TEMPLATE_NAMES}, or a file with a Jinja template`,
    )
    .option('--system <text>', 'system message of the conversation')
    .option('--history <file>', 'go on with the conversation in this file, and keep it there')
    .option('--think', 'open every answer with <think> (default if the model is named Thinking)')
    .option('--no-think', 'do not open answers with <think>')
    .option('--hide-reasoning', 'print answers without the reasoning before them');
  addGenerationFlags(command)
    .option('--json', 'print one JSON object a line for each answer, reasoning included')
    .action(async (flags: Flags) => {
      const { history: path } = flags;
      const history = path === undefined ? undefined : await ChatFile.open(path);
      await withModel(flags, io, (model) => chat(model, history, flags, io));
    });
}

async function chat(
  model: LoopLM,
  history: History | undefined,
  flags: Flags,
  io: CliIo,
): Promise<void> {
  const talk = await talkOf(model, history, flags);
  if (!flags.json) io.stderr.write(`${talk.greeting.join('\n')}\n`);
  const lines = openLines(io);
  try {
    lines.ask();
    for await (const line of lines) {
      const text = line.trim();
      if (text === '/exit') break;
      if (text !== '') await forgiving(io, () => reply(model, talk, text, flags, lines, io));
      lines.ask();
    }
  } finally {
    lines.close();
  }
}

/** At a terminal the chat goes on after a mistake: the next line may do better. */
async function forgiving(io: CliIo, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (!(error instanceof LoopLMError) || !io.stdin.isTTY) throw error;
    tellError(error.message, io);
  }
}

/** Does what a line says, or answers it. */
async function reply(
  model: LoopLM,
  talk: Talk,
  line: string,
  flags: Flags,
  lines: Lines,
  io: CliIo,
): Promise<void> {
  const path = /^\/save\s+(.+)$/.exec(line)?.[1];
  if (line !== '/new' && path === undefined) return answer(model, talk, line, flags, lines, io);
  const note = path === undefined ? talk.begin() : await talk.saveTo(path);
  io.stderr.write(`${note}\n`);
}

async function talkOf(model: LoopLM, history: History | undefined, flags: Flags): Promise<Talk> {
  if (!model.tokenizer) {
    throw new RequestError(
      'The model folder has no tokenizer.json, and chat needs text; add the file, or use generate --ids.',
    );
  }
  const { system, think: enableThinking, hideReasoning } = flags;
  const options = generateOptions(flags);
  const chatTemplate =
    flags.chatTemplate === undefined
      ? model.chatTemplate
      : await chatTemplateOf(flags.chatTemplate, model);
  if (chatTemplate) {
    const name = flags.model ?? 'bundled';
    const settings = { ...options, chatTemplate, enableThinking, system, history, name };
    return conversation(model, settings);
  }
  const misplaced = [
    ...(system === undefined ? [] : ['--system']),
    ...(history === undefined ? [] : ['--history']),
    ...(enableThinking === undefined ? [] : [enableThinking ? '--think' : '--no-think']),
    ...(hideReasoning ? ['--hide-reasoning'] : []),
  ];
  if (misplaced.length > 0) {
    throw new RequestError(
      `The model has no chat template, so ${misplaced[0]} has no place; leave it out, or give --chat-template.`,
    );
  }
  return separateLines(model, options);
}

async function answer(
  model: LoopLM,
  talk: Talk,
  line: string,
  flags: Flags,
  lines: Lines,
  io: CliIo,
): Promise<void> {
  const style = styleOf(io);
  const controller = new AbortController();
  const undo = lines.onInterrupt(() => controller.abort());
  const started = io.now();
  try {
    const events = talk.start(line, controller.signal);
    const finish = flags.json
      ? await finishOf(events)
      : await streamAnswer(model, events, style, io, { hidesReasoning: flags.hideReasoning });
    if (flags.json) {
      io.stdout.write(`${JSON.stringify(jsonOf(line, finish))}\n`);
      await talk.keep(line, finish);
      return;
    }
    const numLoops = flags.numLoops ?? model.config.numLoops;
    const seconds = (io.now() - started) / 1000;
    const summary = closingLine({
      ...finish,
      numTokens: finish.tokenIds.length,
      numLoops,
      seconds,
    });
    io.stdout.write('\n');
    const told = styleOf(io, io.stderr);
    const legend = told.isColoured ? `${depthLegend(told, numLoops)}, ` : '';
    io.stderr.write(`  ${depthsOf(finish)}${legend}${told.dim(summary)}\n`);
    noteMissingAnswer(finish, io);
    await talk.keep(line, finish);
  } finally {
    undo();
  }
}

/** Says so where an answer ended before it began, since then nothing may have been printed. */
function noteMissingAnswer(finish: TextFinishEvent, io: CliIo): void {
  if (finish.reasoning === '' || finish.answer !== '') return;
  const { finishReason } = finish;
  const todo = finishReason === 'max-new-tokens' ? '; raise --max-new-tokens' : '';
  io.stderr.write(`note: the reasoning ended by ${finishReason}, before an answer${todo}\n`);
}

/** The depths of a short answer in numbers. */
function depthsOf({ exitDepths }: TextFinishEvent): string {
  return exitDepths.length > 0 && exitDepths.length <= 8 ? `depths ${exitDepths.join(' ')}, ` : '';
}

function jsonOf(prompt: string, finish: TextFinishEvent): object {
  const { promptIndex: _, kind: __, lastReasoning: ___, lastPiece: ____, ...rest } = finish;
  return { prompt, ...rest };
}
