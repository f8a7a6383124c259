/** Flags of the benchmarks. */
import { realpath } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { convertedOuro } from './models.js';

export interface RoundFlags {
  readonly rounds: number;
  /** Where the results go instead of `benchmarks/results`. */
  readonly json: string | undefined;
}

export interface Flags extends RoundFlags {
  /** Model folder, without symbolic links. */
  readonly model: string;
}

function wholeRounds(text: string | undefined, defaultRounds: number): number {
  const rounds = Number(text ?? defaultRounds);
  if (Number.isInteger(rounds) && rounds >= 1) return rounds;
  throw new Error(`--rounds is ${text}; it must be a whole number from 1.`);
}

const ROUND_OPTIONS = { rounds: { type: 'string' }, json: { type: 'string' } } as const;

/** Reads `--rounds N --json FILE`. */
export function readRounds(defaultRounds: number): RoundFlags {
  const { values } = parseArgs({ options: ROUND_OPTIONS });
  return { rounds: wholeRounds(values.rounds, defaultRounds), json: values.json };
}

/** Reads `--model DIR --rounds N --json FILE`; without a model a random one of 1.4B is made. */
export async function readFlags(defaultRounds: number): Promise<Flags> {
  const { values } = parseArgs({ options: { ...ROUND_OPTIONS, model: { type: 'string' } } });
  return {
    model: await realpath(values.model ?? (await convertedOuro())),
    rounds: wholeRounds(values.rounds, defaultRounds),
    json: values.json,
  };
}
