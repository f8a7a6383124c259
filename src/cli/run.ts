/**
 * The command line as a function: arguments in, exit code out.
 *
 * Exit codes: 0 done; 2 the user's mistake, told in one line on stderr; 130 Ctrl-C; 1 a bug; and of the
 * process, 141 if nobody reads its output any more. With
 * `--json` the error is also one object `{"error": {"code", "message"}}` on stdout, so that a
 * program that reads stdout finds either a result or an error there.
 */
import { Command, CommanderError } from 'commander';
import { LoopLMError } from '../errors.js';
import { packageVersion } from '../platform/node/index.js';
import { registerCalibrate } from './commands/calibrate.js';
import { registerChat } from './commands/chat.js';
import { registerConvert } from './commands/convert.js';
import { registerDemo } from './commands/demo.js';
import { registerEval } from './commands/eval.js';
import { registerGenerate } from './commands/generate.js';
import { registerInspect } from './commands/inspect.js';
import { registerList } from './commands/list.js';
import { registerPull } from './commands/pull.js';
import { registerRandom } from './commands/random.js';
import { registerRm } from './commands/rm.js';
import { registerTrace } from './commands/trace.js';
import { registerTrain } from './commands/train.js';
import type { CliIo } from './io.js';
import { INTERRUPTED, InterruptedError } from './io.js';
import { messageLine, tellError } from './messages.js';

const REGISTER = [
  registerDemo,
  registerGenerate,
  registerChat,
  registerInspect,
  registerTrace,
  registerTrain,
  registerEval,
  registerConvert,
  registerCalibrate,
  registerRandom,
  registerPull,
  registerList,
  registerRm,
];

const DESCRIPTION = 'looped language models: generate and train, each token at its own depth';

const NOTES = `
Exit codes: 0 done, 1 a bug in looplm, 2 a mistake in the input, 130 interrupted, 141 nobody reads
the output any more.
With --json an error is also printed on stdout, as {"error": {"code": ..., "message": ...}}.
`;

/** Runs one command line, without the name of the program; never throws. */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const program = buildProgram(io);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    return report(withCommands(error, program), argv.includes('--json'), io);
  }
}

/** An unknown command that resembles none is told with the names of all. */
function withCommands(error: unknown, program: Command): unknown {
  const { code, message } = error instanceof CommanderError ? error : {};
  if (code !== 'commander.unknownCommand' || message?.includes('Did you mean')) return error;
  const names = program.commands.map((command) => command.name()).join(', ');
  return new CommanderError(2, code, `${message}; the commands are ${names}`);
}

function buildProgram(io: CliIo): Command {
  const program = new Command('looplm')
    .description(DESCRIPTION)
    .version(packageVersion())
    .addHelpText('after', NOTES)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      // `report` prints them, in one line
      outputError: () => {},
    });
  for (const register of REGISTER) register(program, io);
  return program;
}

function report(error: unknown, wantsJson: boolean, io: CliIo): number {
  if (error instanceof InterruptedError) return INTERRUPTED;
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  // commander has printed the help in answer to a line without a command
  if (error instanceof CommanderError && error.code === 'commander.help') return 2;
  const { code, message, exitCode } = describe(error);
  if (wantsJson) {
    io.stdout.write(`${JSON.stringify({ error: { code, message: messageLine(message) } })}\n`);
  }
  tellError(message, io);
  if (exitCode === 1) {
    io.stderr.write('This is a bug in looplm. Please report it with the command that you ran');
    const stack = io.env['LOOPLM_DEBUG'] && error instanceof Error ? error.stack : undefined;
    io.stderr.write(stack ? `:\n${stack}\n` : '; LOOPLM_DEBUG=1 shows where it happened.\n');
  }
  return exitCode;
}

interface Description {
  readonly code: string;
  readonly message: string;
  readonly exitCode: 1 | 2;
}

function describe(error: unknown): Description {
  if (error instanceof LoopLMError) {
    return { code: error.code, message: error.message, exitCode: 2 };
  }
  if (error instanceof CommanderError) {
    return { code: 'usage', message: error.message.replace(/^error: /, ''), exitCode: 2 };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'internal', message, exitCode: 1 };
}
