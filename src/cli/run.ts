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
import { endUnusedWorker, startWorkerAhead } from '../platform/node/device-worker.js';
import { packageVersion } from '../platform/node/version.js';
import type { CliIo } from './io.js';
import { INTERRUPTED, InterruptedError } from './io.js';
import { messageLine, tellError } from './messages.js';

type Register = (program: Command, io: CliIo) => void;

/** Each is loaded when it is called: together they take longer than the first token of an answer. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  demo: async () => (await import('./commands/demo.js')).registerDemo,
  generate: async () => (await import('./commands/generate.js')).registerGenerate,
  chat: async () => (await import('./commands/chat.js')).registerChat,
  serve: async () => (await import('./commands/serve.js')).registerServe,
  inspect: async () => (await import('./commands/inspect.js')).registerInspect,
  trace: async () => (await import('./commands/trace.js')).registerTrace,
  train: async () => (await import('./commands/train.js')).registerTrain,
  finetune: async () => (await import('./commands/finetune.js')).registerFinetune,
  rl: async () => (await import('./commands/rl.js')).registerRL,
  'train-tokenizer': async () =>
    (await import('./commands/train-tokenizer.js')).registerTrainTokenizer,
  tokenize: async () => (await import('./commands/tokenize.js')).registerTokenize,
  eval: async () => (await import('./commands/eval.js')).registerEval,
  convert: async () => (await import('./commands/convert.js')).registerConvert,
  merge: async () => (await import('./commands/merge.js')).registerMerge,
  calibrate: async () => (await import('./commands/calibrate.js')).registerCalibrate,
  random: async () => (await import('./commands/random.js')).registerRandom,
  pull: async () => (await import('./commands/pull.js')).registerPull,
  list: async () => (await import('./commands/list.js')).registerList,
  rm: async () => (await import('./commands/rm.js')).registerRm,
};

/** Commands that compute: the thread for it starts while the rest of them loads. */
const COMPUTING = ['demo', 'generate', 'chat', 'serve', 'trace', 'eval'];

const DESCRIPTION = 'looped language models: generate and train, each token at its own depth';

const NOTES = `
Exit codes: 0 done, 1 a bug in looplm, 2 a mistake in the input, 130 interrupted, 141 nobody reads
the output any more.
With --json an error is also printed on stdout, as {"error": {"code": ..., "message": ...}}.
`;

/** Runs one command line, without the name of the program; never throws. */
export async function run(argv: readonly string[], io: CliIo): Promise<number> {
  const [name = ''] = argv;
  if (COMPUTING.includes(name)) startWorkerAhead();
  try {
    const program = buildProgram(io);
    // of another name, or none, the answer is about all commands
    const wanted = Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS);
    for (const load of wanted) (await load())(program, io);
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    return report(withAdvice(error, name), argv.includes('--json'), io);
  } finally {
    await endUnusedWorker();
  }
}

/** Faults of the line itself say what to write, where Commander says only what is wrong. */
function withAdvice(error: unknown, name: string): unknown {
  if (!(error instanceof CommanderError)) return error;
  const { code, message } = error;
  const told = (advice: string) => new CommanderError(2, code, `${message}${advice}`);
  if (code === 'commander.unknownCommand' && !message.includes('Did you mean')) {
    return told(`; the commands are ${Object.keys(COMMANDS).join(', ')}`);
  }
  if (code === 'commander.excessArguments') {
    return told(
      ` Put a text with blanks in quotes, a prompt after --prompt; looplm ${name} --help has more.`,
    );
  }
  return error;
}

function buildProgram(io: CliIo): Command {
  return new Command('looplm')
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
