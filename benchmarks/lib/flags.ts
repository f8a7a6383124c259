/** Flags of the benchmarks. A mistake in them ends the process, before anything is measured. */
import { existsSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { ConfigError } from 'looplm/errors';
import { countFlag, orEnd, readArguments } from '../../recipes/run-script.js';
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

const ROUND_OPTIONS = { rounds: { type: 'string' }, json: { type: 'string' } } as const;

/** Reads `--rounds N --json FILE`. */
export function readRounds(defaultRounds: number): RoundFlags {
  return orEnd(() => {
    const { values } = readArguments({ options: ROUND_OPTIONS });
    return { rounds: countFlag('rounds', values.rounds, defaultRounds), json: values.json };
  });
}

/** Reads `--rounds N --layers N --json FILE`; models of fewer layers are to try a benchmark out. */
export function readLayers(defaultRounds: number): RoundFlags & { readonly layers?: number } {
  return orEnd(() => {
    const { values } = readArguments({ options: { ...ROUND_OPTIONS, layers: { type: 'string' } } });
    return {
      rounds: countFlag('rounds', values.rounds, defaultRounds),
      json: values.json,
      ...(values.layers !== undefined && { layers: countFlag('layers', values.layers, 1) }),
    };
  });
}

/** Reads `--model DIR --rounds N --json FILE`; without a model a random one of 1.4B is made. */
export async function readFlags(defaultRounds: number): Promise<Flags> {
  const { model, ...flags } = orEnd(() => {
    const { values } = readArguments({ options: { ...ROUND_OPTIONS, model: { type: 'string' } } });
    if (values.model !== undefined && !existsSync(values.model)) {
      throw new ConfigError('model', `--model is ${values.model}, where there is nothing.`);
    }
    const rounds = countFlag('rounds', values.rounds, defaultRounds);
    return { model: values.model, rounds, json: values.json };
  });
  return { ...flags, model: await realpath(model ?? (await convertedOuro())) };
}
