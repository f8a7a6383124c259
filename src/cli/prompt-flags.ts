/**
 * The ways to give a prompt: as text, in a file, on standard input, or as token ids.
 */
import type { Command } from 'commander';
import { RequestError } from '../errors.js';
import type { Prompt } from '../loop-lm.js';
import { readTextFile } from '../platform/node/files/index.js';
import type { CliIo } from './io.js';
import { parseIds } from './parse-flags.js';
import { readStandardInput } from './standard-input.js';

export interface PromptFlags {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly ids?: readonly number[];
}

/** Adds `--prompt`, `--prompt-file` and `--ids`. */
export function addPromptFlags(command: Command): Command {
  return command
    .option('--prompt <text>', 'the prompt; - or nothing reads it from standard input')
    .option('--prompt-file <file>', 'file that holds the prompt')
    .option('--ids <ids>', 'the prompt as token ids, such as 5,9,2', parseIds);
}

/** Stands for standard input. */
const STANDARD_INPUT = '-';

/**
 * The prompt that the flags mean. Without any of them it comes from a pipe. One line end at the end of
 * a file or of standard input is not part of the prompt: editors and `echo` put it there.
 *
 * @throws RequestError if several are given, or none; FileError if it cannot be read as UTF-8.
 */
export async function promptOf(flags: PromptFlags, { stdin }: CliIo): Promise<Prompt> {
  const { prompt, promptFile, ids } = flags;
  const given = Object.entries({ '--prompt': prompt, '--prompt-file': promptFile, '--ids': ids })
    .filter(([, value]) => value !== undefined)
    .map(([flag]) => flag);
  if (given.length > 1) {
    throw new RequestError(`${given.join(' and ')} are given together; give one of them.`);
  }
  if (ids !== undefined) return ids;
  if (promptFile !== undefined) return withoutLineEnd(await readTextFile(promptFile));
  if (prompt !== undefined && prompt !== STANDARD_INPUT) return prompt;
  const text =
    prompt === undefined && stdin.isTTY ? '' : withoutLineEnd(await readStandardInput(stdin));
  if (text === '' && prompt === undefined) {
    throw new RequestError(
      'No prompt is given; give --prompt TEXT, --prompt-file FILE, --ids 5,9,2, or a text on standard input.',
    );
  }
  return text;
}

function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '');
}
