/**
 * `looplm pull`: a model from the Hugging Face hub into its cache.
 *
 * Progress goes to stderr, a bar at a terminal and lines elsewhere; where the model is goes to stdout.
 */
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import type { PulledModel, PullOptions, PullProgress } from '../../platform/node/index.js';
import { NODE_PLATFORM, pullModel } from '../../platform/node/index.js';
import type { CliIo } from '../io.js';
import { InterruptedError, interruptible } from '../io.js';
import { isRich } from '../style.js';
import { printable } from '../../util/quote.js';
import { shortBytes } from '../table.js';

interface Flags {
  readonly revision?: string;
  readonly cacheDir?: string;
  readonly offline?: true;
  readonly json?: true;
}

const EXAMPLES = `
The cache is the one of the Python client (HF_HOME, HF_HUB_CACHE); HF_TOKEN or a login of that client
is used for gated and private models, HF_ENDPOINT for another hub. Ctrl-C keeps what has arrived;
the same command goes on from it.

Examples:
  looplm pull ByteDance/Ouro-1.4B
  looplm pull ByteDance/Ouro-1.4B --revision main --cache-dir ./models
  looplm pull ByteDance/Ouro-1.4B --offline --json
`;

export function registerPull(program: Command, io: CliIo): void {
  program
    .command('pull')
    .description('download a model from the Hugging Face hub; resumes what was interrupted')
    .argument('<model>', 'name on the hub, ORG/NAME')
    .option('--revision <name>', 'branch, tag or commit (default: main)')
    .option('--cache-dir <folder>', 'folder of the cache (default: that of the Python client)')
    .option('--offline', 'only look into the cache')
    .option('--json', 'print one JSON object')
    .addHelpText('after', EXAMPLES)
    .action((id: string, flags: Flags) => pull(id, flags, io));
}

async function pull(id: string, { json, ...options }: Flags, io: CliIo): Promise<void> {
  const pulled = await interruptible(io, (signal) => pullWithProgress(id, options, signal, io));
  io.stdout.write(`${json ? JSON.stringify(pulled) : sentenceOf(pulled)}\n`);
}

async function pullWithProgress(
  id: string,
  options: PullOptions,
  signal: AbortSignal,
  io: CliIo,
): Promise<PulledModel> {
  const shown = openProgress(io);
  try {
    const platform = { ...NODE_PLATFORM, env: io.env };
    const onWait = (message: string) => {
      shown.stop();
      io.stderr.write(`${message}\n`);
    };
    return await pullModel(id, { ...options, signal, progress: shown.show, onWait }, platform);
  } catch (error) {
    if (!signal.aborted) throw error;
    shown.stop();
    io.stderr.write('Stopped. What has arrived is kept; the same command goes on from there.\n');
    throw new InterruptedError();
  } finally {
    shown.stop();
  }
}

function sentenceOf({ path, files }: PulledModel): string {
  const total = files.reduce((sum, { size }) => sum + size, 0);
  return `${files.length} files, ${shortBytes(total)}, in ${printable(path)}`;
}

interface Progress {
  show(progress: PullProgress): void;
  stop(): void;
}

function openProgress(io: CliIo): Progress {
  return isRich(io.stderr, io.env) ? barProgress(io) : lineProgress(io);
}

function barProgress({ stderr, now }: CliIo): Progress {
  const bar = new SingleBar({
    stream: stderr,
    format: '{bar} {percentage} % | {amount} | {rate} | {note}',
    barsize: 20,
    barCompleteChar: '█',
    barIncompleteChar: '·',
    hideCursor: true,
  });
  let start: { readonly bytes: number; readonly ms: number } | undefined;
  return {
    show({ file, receivedBytes, totalBytes, retry }) {
      start ??= { bytes: receivedBytes, ms: now() };
      const seconds = (now() - start.ms) / 1000;
      const rate = seconds > 0 ? Math.max(0, receivedBytes - start.bytes) / seconds : 0;
      const payload = {
        amount: `${shortBytes(receivedBytes)} of ${shortBytes(totalBytes)}`,
        rate: `${shortBytes(Math.round(rate))}/s`,
        note: retry ? retryText(retry) : file,
      };
      if (bar.isActive) bar.update(receivedBytes, payload);
      else bar.start(totalBytes, receivedBytes, payload);
    },
    stop: () => void (bar.isActive && bar.stop()),
  };
}

/** A line for each file, each tenth of the whole, and each retry. */
function lineProgress({ stderr }: CliIo): Progress {
  let lastFile = '';
  let lastTenth = 0;
  const show = ({ file, receivedBytes, totalBytes, retry }: PullProgress) => {
    const tenth = Math.floor((10 * receivedBytes) / totalBytes);
    if (retry) stderr.write(`${file}: ${retryText(retry)}\n`);
    else if (file !== lastFile || tenth > lastTenth) {
      stderr.write(`${file}: ${shortBytes(receivedBytes)} of ${shortBytes(totalBytes)}\n`);
    }
    lastFile = file;
    lastTenth = Math.max(lastTenth, tenth);
  };
  return { show, stop: () => {} };
}

function retryText({ why, waitMs }: NonNullable<PullProgress['retry']>): string {
  return `${why}; trying again in ${Math.ceil(waitMs / 1000)} s`;
}
