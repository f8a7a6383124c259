/**
 * Standard input as text: whole, or line by line. It may be a file of any size, or never end, and must be
 * UTF-8.
 */
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { FileError, RequestError } from '../errors.js';
import { decodeUtf8 } from '../util/utf8.js';
import type { CliIo } from './io.js';
import { isRich } from './style.js';

/** More than any context holds. */
const MAX_INPUT_BYTES = 2 ** 26;
const MAX_LINE_LENGTH = 2 ** 24;

const NAME = 'Standard input';

/** @throws RequestError if there is too much of it; FileError if it is not UTF-8 */
export async function readStandardInput(stdin: CliIo['stdin']): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    chunks.push(bytesOf(chunk));
    length += chunks.at(-1)!.length;
    if (length > MAX_INPUT_BYTES) {
      throw new RequestError(
        `${NAME} has more than ${MAX_INPUT_BYTES} bytes, and no context is so long. Give a shorter prompt.`,
      );
    }
  }
  return decodeUtf8(Buffer.concat(chunks), NAME);
}

function bytesOf(chunk: unknown): Uint8Array {
  return typeof chunk === 'string' ? new TextEncoder().encode(chunk) : (chunk as Uint8Array);
}

/** Lines as they come. */
export interface Lines extends AsyncIterable<string> {
  /** Shows that a line is wanted. */
  ask(): void;
  /** What Ctrl-C does until undone; without, it ends the input. */
  onInterrupt(handler: () => void): () => void;
  close(): void;
}

/**
 * Lines of standard input; with editing and history at a terminal. While they are gone through a
 * RequestError is thrown for a line without end, and a FileError for one that is not UTF-8.
 */
export function openLines(io: CliIo): Lines {
  const isTerminal = io.stdin.isTTY === true && io.stdout.isTTY === true;
  const input = isTerminal ? io.stdin : Readable.from(checkedTexts(io.stdin));
  const reader = createInterface({
    input,
    ...(isTerminal && {
      output: io.stdout,
      terminal: isRich(io.stdout, io.env),
      prompt: '> ',
    }),
  });
  let failure: Error | undefined;
  input.on('error', (error) => {
    failure ??= error;
    reader.close();
  });
  let onInterrupt: (() => void) | undefined;
  const interrupt = () => (onInterrupt ? onInterrupt() : reader.close());
  reader.on('SIGINT', interrupt);
  const undo = io.onInterrupt(interrupt);
  return {
    async *[Symbol.asyncIterator]() {
      yield* reader;
      if (failure !== undefined) throw failure;
    },
    ask: () => isTerminal && reader.prompt(),
    onInterrupt(handler) {
      onInterrupt = handler;
      return () => (onInterrupt = undefined);
    },
    close() {
      undo();
      reader.close();
      if (!isTerminal) io.stdin.destroy(); // else the process would wait for its end
    },
  };
}

async function* checkedTexts(stdin: CliIo['stdin']): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let lineLength = 0;
  for await (const chunk of stdin) {
    const text = decode(decoder, bytesOf(chunk));
    const lastEnd = text.lastIndexOf('\n');
    lineLength = lastEnd < 0 ? lineLength + text.length : text.length - lastEnd;
    if (lineLength > MAX_LINE_LENGTH) {
      throw new RequestError(
        `A line of standard input has more than ${MAX_LINE_LENGTH} characters, and no context is so long. Give shorter lines.`,
      );
    }
    yield text;
  }
  yield decode(decoder);
}

/** Without bytes the end of the text. */
function decode(decoder: TextDecoder, bytes?: Uint8Array): string {
  try {
    return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
  } catch (cause) {
    throw new FileError(NAME, `${NAME} is not UTF-8. Give the lines in UTF-8.`, { cause });
  }
}
