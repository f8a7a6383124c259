/**
 * `looplm chat`: answers line by line. A model with a chat template keeps the conversation; any
 * other model gets one line at a time as its whole prompt.
 *
 * Ctrl-C ends the answer that is being printed, or else the chat.
 */
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { LoopLMError, RequestError } from '../../errors.js';
import type { LoopLM, TextEvent, TextFinishEvent } from '../../loop-lm.js';
import type { ChatMessage, ChatTemplate } from '../../tokenizer/index.js';
import { CHAT_TEMPLATE_NAMES, chatTemplateOf } from '../chat-template.js';
import type { GenerationFlags } from '../generation-flags.js';
import { addGenerationFlags, generateOptions } from '../generation-flags.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { finishOf, streamAnswer } from '../stream-answer.js';
import { depthLegend, isRich, styleOf } from '../style.js';
import { closingLine } from '../summary.js';

type Flags = ModelFlags &
  GenerationFlags & {
    readonly chatTemplate?: string;
    readonly system?: string;
    readonly think?: boolean;
    readonly hideReasoning?: true;
    readonly json?: true;
  };

const EXAMPLES = `
Lines: a message, or /exit. Ctrl-C ends an answer, at the prompt it ends the chat.

Examples:
  looplm chat                                    one problem a line, with the bundled model
  looplm chat --model ./my-chat-model --temperature 0.7
  looplm chat --model ./my-base-model --chat-template chatml-corrected --system 'Be brief.'
  looplm chat --model ./Ouro-1.4B-Thinking --hide-reasoning
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
    .option('--think', 'open every answer with <think> (default if the model is named Thinking)')
    .option('--no-think', 'do not open answers with <think>')
    .option('--hide-reasoning', 'print answers without the reasoning before them');
  addGenerationFlags(command)
    .option('--json', 'print one JSON object a line for each answer, reasoning included')
    .action((flags: Flags) => withModel(flags, io, (model) => chat(model, flags, io)));
}

async function chat(model: LoopLM, flags: Flags, io: CliIo): Promise<void> {
  const talk = await talkOf(model, flags);
  if (!flags.json) io.stderr.write(`${talk.greeting.join('\n')}\n`);
  const lines = openLines(io);
  try {
    lines.ask();
    for await (const line of lines) {
      const text = line.trim();
      if (text === '/exit') break;
      if (text !== '') await answer(model, talk, text, flags, lines, io);
      lines.ask();
    }
  } finally {
    lines.close();
  }
}

/** What is sent to the model for a line, and what an answer changes. */
interface Talk {
  /** Lines that open the chat. */
  readonly greeting: readonly string[];
  start(line: string, signal: AbortSignal): AsyncIterable<TextEvent>;
  keep(line: string, finish: TextFinishEvent): void;
}

async function talkOf(model: LoopLM, flags: Flags): Promise<Talk> {
  if (!model.tokenizer) {
    throw new RequestError(
      'The model folder has no tokenizer.json, and chat needs text; add the file, or use generate --ids.',
    );
  }
  const chatTemplate =
    flags.chatTemplate === undefined
      ? model.chatTemplate
      : await chatTemplateOf(flags.chatTemplate, model);
  return chatTemplate ? conversation(model, chatTemplate, flags) : separateLines(model, flags);
}

function separateLines(model: LoopLM, flags: Flags): Talk {
  const { system, think, hideReasoning } = flags;
  const misplaced = [
    ...(system === undefined ? [] : ['--system']),
    ...(think === undefined ? [] : [think ? '--think' : '--no-think']),
    ...(hideReasoning ? ['--hide-reasoning'] : []),
  ];
  if (misplaced.length > 0) {
    throw new RequestError(
      `The model has no chat template, so ${misplaced[0]} has no place; leave it out, or give --chat-template.`,
    );
  }
  const options = generateOptions(flags);
  return {
    greeting: [
      'This model has no chat template: it does not hold conversations. Each line is a prompt of its own.',
      'The bundled model takes a problem a line, such as: cup 3; swap 2 3; swap 1 5;',
      `Answers are shown in the colour of their depth, 1 to ${model.config.numLoops} loops; /exit ends.`,
    ],
    start: (line, signal) => model.generate(line, { ...options, signal }),
    keep: () => {},
  };
}

function conversation(model: LoopLM, chatTemplate: ChatTemplate, flags: Flags): Talk {
  const options = { ...generateOptions(flags), chatTemplate, enableThinking: flags.think };
  const messages: ChatMessage[] = [];
  if (flags.system !== undefined) messages.push({ role: 'system', content: flags.system });
  const isNamed = flags.think === undefined && model.thinksByDefault;
  return {
    greeting: [
      'Write a message; /exit ends the chat.',
      ...(isNamed
        ? ["Answers begin with reasoning, as the model's name says; --no-think turns it off."]
        : []),
    ],
    start: (line, signal) =>
      model.chat([...messages, { role: 'user', content: line }], { ...options, signal }),
    // chat models read their earlier turns without the reasoning
    keep: (line, { answer: content }) =>
      void messages.push({ role: 'user', content: line }, { role: 'assistant', content }),
  };
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
    talk.keep(line, finish);
    if (flags.json) {
      io.stdout.write(`${JSON.stringify(jsonOf(line, finish))}\n`);
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
    const legend = style.isColoured ? `${depthLegend(style, numLoops)}, ` : '';
    io.stderr.write(`  ${depthsOf(finish)}${legend}${style.dim(summary)}\n`);
    noteMissingAnswer(finish, io);
  } catch (error) {
    // at a terminal the chat goes on: the next line may do better
    if (!(error instanceof LoopLMError) || !io.stdin.isTTY) throw error;
    io.stderr.write(`error: ${error.message}\n`);
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

interface Lines extends AsyncIterable<string> {
  /** Shows that a line is wanted. */
  ask(): void;
  /** What Ctrl-C does until undone; without, it ends the input. */
  onInterrupt(handler: () => void): () => void;
  close(): void;
}

/** Lines of standard input; with editing and history at a terminal. */
function openLines(io: CliIo): Lines {
  const isTerminal = io.stdin.isTTY === true && io.stdout.isTTY === true;
  const reader = createInterface({
    input: io.stdin,
    ...(isTerminal && {
      output: io.stdout,
      terminal: isRich(io.stdout, io.env),
      prompt: '> ',
    }),
  });
  let onInterrupt: (() => void) | undefined;
  const interrupt = () => (onInterrupt ? onInterrupt() : reader.close());
  reader.on('SIGINT', interrupt);
  const undo = io.onInterrupt(interrupt);
  return {
    [Symbol.asyncIterator]: () => reader[Symbol.asyncIterator](),
    ask: () => isTerminal && reader.prompt(),
    onInterrupt(handler) {
      onInterrupt = handler;
      return () => (onInterrupt = undefined);
    },
    close() {
      undo();
      reader.close();
    },
  };
}
