/**
 * What the scripts of recipes, experiments and benchmarks share. A user's mistake is one line and exit
 * code 2, as at the command line; anything else is a bug and keeps its stack.
 */
import type { ParseArgsConfig } from 'node:util';
import { parseArgs } from 'node:util';
import { ConfigError, LoopLMError } from 'looplm/errors';

/** Runs a script to the exit code that it gives, if it gives one. */
export async function runScript(main: () => Promise<number | void>): Promise<void> {
  try {
    const code = await main();
    if (code !== undefined) process.exitCode = code;
  } catch (error) {
    tellMistake(error);
  }
}

/** What a script without such a `main` reads of its arguments; a mistake in them ends the process. */
export function orEnd<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    tellMistake(error);
    return process.exit();
  }
}

/** Says a user's mistake and sets the exit code. */
function tellMistake(error: unknown): void {
  if (!(error instanceof LoopLMError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}

/**
 * `parseArgs` of Node.js, with mistakes as ours.
 *
 * @throws ConfigError for a flag that there is not, without its value or with one too many
 */
export function readArguments<const T extends ParseArgsConfig>(
  config: T,
): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith('ERR_PARSE_ARGS')) throw error;
    const flags = Object.entries(config.options ?? {}).map(([name, { type }]) =>
      type === 'string' ? `--${name} <value>` : `--${name}`,
    );
    const [mistake] = message.split(/\.(?: |\n|$)|\n/u);
    const allowed = flags.length > 0 ? `The flags are ${flags.join(', ')}.` : 'There are no flags.';
    throw new ConfigError('arguments', `${mistake}. ${allowed}`);
  }
}

/** @throws ConfigError unless it is a whole number from the least one up, or left out */
export function countFlag<Usual extends number | undefined>(
  flag: string,
  text: string | undefined,
  usual: Usual,
  least = 1,
): number | Usual {
  if (text === undefined) return usual;
  const value = text.trim() === '' ? NaN : Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new ConfigError(flag, `--${flag} is ${text}; it must be a whole number from ${least} up.`);
}
