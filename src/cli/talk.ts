/**
 * What a chat sends to its model and keeps of the answers: a conversation where the model has a chat
 * template, else one prompt after the other. Prints nothing.
 */
import { FileError, RequestError } from '../errors.js';
import type { GenerateOptions, LoopLM, TextEvent, TextFinishEvent } from '../loop-lm.js';
import type { ChatMessage, ChatTemplate } from '../tokenizer/index.js';
import type { SavedChat } from './chat-history.js';
import { ChatFile } from './chat-history.js';

export interface Talk {
  /** Lines that open the chat. */
  readonly greeting: readonly string[];
  start(line: string, signal: AbortSignal): AsyncIterable<TextEvent>;
  keep(line: string, finish: TextFinishEvent): Promise<void>;
  /** Forgets what was said; what is in a file stays there. Returns what to tell. */
  begin(): string;
  /** Saves what was said in a file, and what will be said. Returns what to tell. */
  saveTo(path: string): Promise<string>;
}

/** Every line is a prompt of its own. */
export function separateLines(model: LoopLM, options: GenerateOptions): Talk {
  const refuse = (): never => {
    throw new RequestError('This model has no chat template, so there is no conversation to keep.');
  };
  return {
    greeting: [
      'This model has no chat template: it does not hold conversations. Each line is a prompt of its own.',
      `Answers are shown in the colour of their depth, 1 to ${model.config.numLoops} loops; /exit ends.`,
    ],
    start: (line, signal) => model.generate(line, { ...options, signal }),
    keep: async () => {},
    begin: refuse,
    saveTo: refuse,
  };
}

/** A conversation may be kept in a file, and may have begun in it. */
export interface History {
  readonly file: ChatFile;
  readonly saved: SavedChat | undefined;
}

export interface ConversationOptions extends GenerateOptions {
  readonly chatTemplate: ChatTemplate;
  readonly enableThinking?: boolean | undefined;
  readonly system?: string | undefined;
  readonly history?: History | undefined;
  /** What the model is called in the file. */
  readonly name: string;
}

/** @throws RequestError if a system message is given for a conversation that has begun. */
export function conversation(model: LoopLM, options: ConversationOptions): Talk {
  const { system, history, name, ...rest } = options;
  const saved = history?.saved;
  const opening: readonly ChatMessage[] =
    system === undefined ? [] : [{ role: 'system', content: system }];
  if (saved && opening.length > 0) {
    throw new RequestError(
      `${history.file.path} holds a conversation that has begun, so --system has no place; leave it out, or name another file.`,
    );
  }
  let messages: readonly ChatMessage[] = saved?.messages ?? opening;
  let file = history?.file;
  const isNamed = rest.enableThinking === undefined && model.thinksByDefault;
  return {
    greeting: [
      'Write a message; /new begins another conversation, /save FILE keeps this one, /exit ends the chat.',
      ...(isNamed
        ? ["Answers begin with reasoning, as the model's name says; --no-think turns it off."]
        : []),
      ...(saved ? [continued(history.file.path, saved, name)] : []),
    ],
    start: (line, signal) =>
      model.chat([...messages, { role: 'user', content: line }], { ...rest, signal }),
    async keep(line, { answer: content }) {
      // chat models read their earlier turns without the reasoning
      messages = [...messages, { role: 'user', content: line }, { role: 'assistant', content }];
      await file?.save({ model: name, messages });
    },
    begin() {
      const note = file
        ? ` The one in ${file.path} stays as it is; /save keeps the new one elsewhere.`
        : '';
      messages = opening;
      file = undefined;
      return `A new conversation.${note}`;
    },
    async saveTo(path) {
      const other = await ChatFile.open(path);
      if (other.saved && path !== file?.path) {
        throw new FileError(path, `${path} holds another conversation. Name another file.`);
      }
      await other.file.save({ model: name, messages });
      file = other.file;
      return `Saved in ${path}, and so will be what follows.`;
    },
  };
}

function continued(path: string, { model, messages }: SavedChat, name: string): string {
  const numTurns = messages.filter(({ role }) => role === 'user').length;
  const other = model === name ? '' : `, held with ${model}`;
  return `The conversation in ${path} goes on: ${numTurns} ${numTurns === 1 ? 'turn' : 'turns'}${other}.`;
}
