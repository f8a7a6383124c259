/** Flags of the benchmarks that measure a model folder. */
import { parseArgs } from 'node:util';
import { realpath } from 'node:fs/promises';
import { convertedOuro } from './models.js';

export interface Flags {
  /** Model folder, without symbolic links. */
  readonly model: string;
  readonly rounds: number;
  /** Where the results go instead of `benchmarks/results`. */
  readonly json: string | undefined;
}

/** Reads `--model DIR --rounds N --json FILE`; without a model a random one of 1.4B is made. */
export async function readFlags(defaultRounds: number): Promise<Flags> {
  const { values } = parseArgs({
    options: { model: { type: 'string' }, rounds: { type: 'string' }, json: { type: 'string' } },
  });
  const rounds = Number(values.rounds ?? defaultRounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new Error(`--rounds is ${values.rounds}; it must be a whole number from 1.`);
  }
  return {
    model: await realpath(values.model ?? (await convertedOuro())),
    rounds,
    json: values.json,
  };
}
