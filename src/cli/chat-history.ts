/**
 * A conversation in a file, so that it can go on another day: JSON with the name of the model and the
 * messages. It is written whole or not at all, and never over something that is no conversation.
 */
import { z } from 'zod';
import { ConfigError, FileError } from '../errors.js';
import {
  fileExists,
  prepareWriting,
  readTextFile,
  writeFileAtomic,
} from '../platform/node/index.js';
import type { ChatMessage } from '../tokenizer/index.js';
import { checkFields } from '../util/parse-fields.js';

const VERSION = 1;

const ROLE_RULE = 'it must be who speaks, such as "user"';
const messageSchema = z.strictObject(
  { role: z.string(ROLE_RULE).min(1, ROLE_RULE), content: z.string('it must be what was said') },
  'it must be an object of role and content',
);
const chatSchema = z.strictObject(
  {
    looplmChat: z.literal(VERSION, `it must be ${VERSION}`),
    /** As it was named when the conversation was saved. */
    model: z.string('it must be the name of a model'),
    messages: z.array(messageSchema, 'it must be a list of messages'),
  },
  'it must be an object',
);

/** A conversation as it is saved. */
export interface SavedChat {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
}

/** The file of a conversation. */
export class ChatFile {
  readonly path: string;
  /** What the file held when it was last seen here; undefined if there was none. */
  #content: string | undefined;

  private constructor(path: string, content: string | undefined) {
    this.path = path;
    this.#content = content;
  }

  /**
   * Opens a file and reads the conversation in it, if there is one.
   *
   * @throws FileError if it cannot be read or written; ConfigError if it is something else.
   */
  static async open(path: string): Promise<{ file: ChatFile; saved: SavedChat | undefined }> {
    await prepareWriting(path); // what it cannot be is told before the conversation
    const content = await read(path);
    const saved = content === undefined ? undefined : parse(path, content);
    return { file: new ChatFile(path, content), saved };
  }

  /** @throws FileError if it cannot be written, or somebody else has written to it. */
  async save({ model, messages }: SavedChat): Promise<void> {
    if ((await read(this.path)) !== this.#content) {
      throw new FileError(
        this.path,
        `${this.path} was changed by another program, and is left as it is. Keep this conversation with /save and another name.`,
      );
    }
    const chat = { looplmChat: VERSION, model, messages };
    const content = `${JSON.stringify(chat, null, 2)}\n`;
    await writeFileAtomic(this.path, content);
    this.#content = content;
  }
}

async function read(path: string): Promise<string | undefined> {
  return (await fileExists(path)) ? readTextFile(path) : undefined;
}

function parse(path: string, content: string): SavedChat {
  const fail = (problem: string, cause?: unknown): never => {
    throw new ConfigError(
      'history',
      `${path} is no conversation that looplm has saved: ${problem}. Correct it, or name another file.`,
      { cause },
    );
  };
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    return fail('it is not valid JSON', cause);
  }
  const checked = checkFields(chatSchema, json, 'a conversation');
  if ('data' in checked) return checked.data;
  return fail(checked.faults.map(({ sentence }) => sentence.replace(/\.$/, '')).join('. '));
}
