/**
 * The two ways to give a prompt, as text or as token ids: exactly one of them.
 */
import type { Command } from 'commander';
import { RequestError } from '../errors.js';
import type { Prompt } from '../loop-lm.js';
import { parseIds } from './parse-flags.js';

export interface PromptFlags {
  readonly prompt?: string;
  readonly ids?: readonly number[];
}

/** Adds `--prompt` and `--ids`. */
export function addPromptFlags(command: Command): Command {
  return command
    .option('--prompt <text>', 'the prompt as text')
    .option('--ids <ids>', 'the prompt as token ids, such as 5,9,2', parseIds);
}

/** @throws RequestError unless exactly one of the flags is given. */
export function promptOf({ prompt, ids }: PromptFlags): Prompt {
  if (prompt !== undefined && ids !== undefined) {
    throw new RequestError('Both --prompt and --ids are given; give one of them.');
  }
  const given = prompt ?? ids;
  if (given === undefined) {
    throw new RequestError('No prompt is given; give --prompt TEXT or --ids 5,9,2.');
  }
  return given;
}
