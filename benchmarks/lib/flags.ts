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

function wholeNumber(flag: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new Error(`--${flag} is ${text}; it must be a whole number from 1.`);
}

function wholeRounds(text: string | undefined, defaultRounds: number): number {
  return text === undefined ? defaultRounds : wholeNumber('rounds', text);
}

const ROUND_OPTIONS = { rounds: { type: 'string' }, json: { type: 'string' } } as const;

/** Reads `--rounds N --json FILE`. */
export function readRounds(defaultRounds: number): RoundFlags {
  const { values } = parseArgs({ options: ROUND_OPTIONS });
  return { rounds: wholeRounds(values.rounds, defaultRounds), json: values.json };
}

/** Reads `--rounds N --layers N --json FILE`; models of fewer layers are to try a benchmark out. */
export function readLayers(defaultRounds: number): RoundFlags & { readonly layers?: number } {
  const { values } = parseArgs({ options: { ...ROUND_OPTIONS, layers: { type: 'string' } } });
  return {
    rounds: wholeRounds(values.rounds, defaultRounds),
    json: values.json,
    ...(values.layers !== undefined && { layers: wholeNumber('layers', values.layers) }),
  };
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
