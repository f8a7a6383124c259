/** Flags of the experiments. */
import { ConfigError } from 'looplm/errors';

/** @throws ConfigError unless it is a whole number from 1 up */
export function countFlag(flag: string, text: string | undefined, usual: number): number {
  if (text === undefined) return usual;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new ConfigError(flag, `--${flag} is ${text}; it must be a whole number from 1 up.`);
}
