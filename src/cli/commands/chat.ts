/**
 * `looplm chat`: answers line by line. A model with a chat template keeps the conversation; any
 * other model gets one line at a time as its whole prompt.
 *
 * Ctrl-C ends the answer that is being printed, or else the chat.
 */
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import { LoopLMError, RequestError } from '../../errors.js';
import type { LoopLM, TextEvent, TextFinishEvent } from '../../loop-lm.js';
import type { ChatMessage } from '../../tokenizer/index.js';
import { CHATML_TEMPLATES, ChatTemplate } from '../../tokenizer/index.js';
import type { GenerationFlags } from '../generation-flags.js';
import { addGenerationFlags, generateOptions } from '../generation-flags.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addModelFlags, withModel } from '../model-flags.js';
import { finishOf, streamAnswer } from '../stream-answer.js';
import { depthLegend, styleOf } from '../style.js';
import { closingLine } from '../summary.js';

type Flags = ModelFlags &
  GenerationFlags & {
    readonly chatml?: keyof typeof CHATML_TEMPLATES;
    readonly system?: string;
    readonly json?: true;
  };

const EXAMPLES = `
Lines: a message, or /exit. Ctrl-C ends an answer, at the prompt it ends the chat.

Examples:
  looplm chat                                    one problem a line, with the bundled model
  looplm chat --model ./my-chat-model --temperature 0.7
  looplm chat --model ./my-base-model --chatml corrected --system 'Be brief.'
`;

export function registerChat(program: Command, io: CliIo): void {
  const command = program
    .command('chat')
    .description('talk to a chat model, or give problems to the bundled one')
    .addHelpText('after', EXAMPLES);
  addModelFlags(command)
    .addOption(
      new Option(
        '--chatml <kind>',
        'use a ChatML template instead of the one of the model',
      ).choices(Object.keys(CHATML_TEMPLATES)),
    )
    .option('--system <text>', 'system message of the conversation');
  addGenerationFlags(command)
    .option('--json', 'print one JSON object a line for each answer')
    .action((flags: Flags) => withModel(flags, io, (model) => chat(model, flags, io)));
}

async function chat(model: LoopLM, flags: Flags, io: CliIo): Promise<void> {
  const talk = talkOf(model, flags);
  if (!flags.json) io.stderr.write(`${greeting(model, talk)}\n`);
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
  readonly keepsConversation: boolean;
  start(line: string, signal: AbortSignal): AsyncIterable<TextEvent>;
  keep(line: string, answer: string): void;
}

function talkOf(model: LoopLM, flags: Flags): Talk {
  if (!model.tokenizer) {
    throw new RequestError(
      'The model folder has no tokenizer.json, and chat needs text; add the file, or use generate --ids.',
    );
  }
  const options = generateOptions(flags);
  const chatTemplate = flags.chatml
    ? new ChatTemplate(CHATML_TEMPLATES[flags.chatml])
    : model.chatTemplate;
  if (!chatTemplate) {
    if (flags.system !== undefined) {
      throw new RequestError(
        'The model has no chat template, so --system has no place; leave it out, or give --chatml.',
      );
    }
    const start = (line: string, signal: AbortSignal) =>
      model.generate(line, { ...options, signal });
    return { keepsConversation: false, start, keep: () => {} };
  }
  // ChatML ends a turn with this token, whatever the model's own end-of-text token is.
  const endOfTurn = flags.chatml && model.tokenizer.tokenToId('<|im_end|>');
  const stopIds = [...(options.stopIds ?? []), ...(endOfTurn === undefined ? [] : [endOfTurn])];
  const messages: ChatMessage[] = [];
  if (flags.system !== undefined) messages.push({ role: 'system', content: flags.system });
  return {
    keepsConversation: true,
    start: (line, signal) =>
      model.chat([...messages, { role: 'user', content: line }], {
        ...options,
        stopIds,
        chatTemplate,
        signal,
      }),
    keep: (line, text) =>
      void messages.push({ role: 'user', content: line }, { role: 'assistant', content: text }),
  };
}

function greeting({ config }: LoopLM, { keepsConversation }: Talk): string {
  if (keepsConversation) return 'Write a message; /exit ends the chat.';
  return [
    'This model has no chat template: it does not hold conversations. Each line is a prompt of its own.',
    'The bundled model takes a problem a line, such as: cup 3; swap 2 3; swap 1 5;',
    `Answers are shown in the colour of their depth, 1 to ${config.numLoops} loops; /exit ends.`,
  ].join('\n');
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
      : await streamAnswer(model, events, style, io);
    talk.keep(line, finish.text);
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
  } catch (error) {
    // at a terminal the chat goes on: the next line may do better
    if (!(error instanceof LoopLMError) || !io.stdin.isTTY) throw error;
    io.stderr.write(`error: ${error.message}\n`);
  } finally {
    undo();
  }
}

/** The depths of a short answer in numbers. */
function depthsOf({ exitDepths }: TextFinishEvent): string {
  return exitDepths.length > 0 && exitDepths.length <= 8 ? `depths ${exitDepths.join(' ')}, ` : '';
}

function jsonOf(prompt: string, finish: TextFinishEvent): object {
  const { promptIndex: _, kind: __, lastPiece: ___, ...rest } = finish;
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
    ...(isTerminal && { output: io.stdout, terminal: true, prompt: '> ' }),
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
