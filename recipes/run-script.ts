/**
 * Runs a script of a recipe or an experiment. A user's mistake is one line and exit code 2, as at the
 * command line; anything else is a bug and keeps its stack.
 */
import { LoopLMError } from 'looplm/errors';

export async function runScript(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof LoopLMError)) throw error;
    console.error(`error: ${error.message}`);
    process.exitCode = 2;
  }
}
