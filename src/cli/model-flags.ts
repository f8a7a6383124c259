/**
 * The flags that choose a model, its weight format and its threads, shared by the commands that
 * load one.
 */
import { type Command, Option } from 'commander';
import { LoopLM } from '../loop-lm.js';
import type { MemoryPlan, ParsedModelConfig } from '../model/index.js';
import { describePlan, showBytes } from '../model/index.js';
import type { HubPlatform, LoadProgress, PretrainedOptions } from '../platform/node/index.js';
import { bundledModelPath } from '../platform/node/bundled-model.js';
import { NODE_PLATFORM } from '../platform/node/hub/platform.js';
import { openPretrained } from '../platform/node/pretrained.js';
import type { KvDtype } from '../util/kv-dtype.js';
import { KV_DTYPES } from '../util/kv-dtype.js';
import { MATRIX_DTYPES } from '../util/matrix-dtype.js';
import type { Progress } from './byte-progress.js';
import { openByteProgress, openLateProgress } from './byte-progress.js';
import type { CliIo } from './io.js';
import { InterruptedError, PATIENCE_MS, interruptible } from './io.js';
import { tellNote } from './messages.js';
import { parseCount } from './parse-flags.js';

export interface ModelFlags {
  readonly model?: string;
  readonly threads?: number;
  readonly dtype: NonNullable<PretrainedOptions['dtype']>;
  readonly kvDtype?: KvDtype;
  readonly context?: number;
  readonly revision?: string;
  readonly offline?: true;
  readonly adapter?: string;
  readonly gate?: string;
}

/** What a command knows of how it uses the model. */
interface LoadFlags extends ModelFlags {
  readonly kvPolicy?: PretrainedOptions['kvPolicy'];
  readonly maxSequences?: number;
  /** Whether the weights may be exchanged. */
  readonly updatable?: boolean;
  /** Whether the memory plan is shown however small it is. */
  readonly showsPlan?: boolean;
}

/** Plans of less than this are not worth a user's attention. */
const SHOWN_PLAN_BYTES = 500e6;

/** Adds `--model`, how it is had, and its threads. */
function addModelFlags(command: Command): Command {
  return command
    .option('--model <name>', 'model folder, or ORG/NAME on the hub; the bundled model if left out')
    .addOption(
      new Option('--dtype <type>', 'weights; auto converts large checkpoints to q8, once')
        .choices(['auto', ...MATRIX_DTYPES])
        .default('auto'),
    )
    .option('--revision <name>', 'branch, tag or commit on the hub (default: main)')
    .option('--offline', 'use only what is in the cache of the hub')
    .option('--threads <n>', 'threads inside one operator (default: all cores)', parseCount);
}

/** Adds `addModelFlags` and how the engine keeps what it computes. */
export function addEngineFlags(command: Command): Command {
  return addModelFlags(command)
    .option('--adapter <folder>', "adapter of the model, in the files of Python's PEFT")
    .option('--gate <name>', "exit gate of the model's gates.safetensors, in place of its own")
    .addOption(
      new Option(
        '--kv-dtype <type>',
        'keys and values (default: i8 for q4 and q8, f16 for f16, else f32)',
      ).choices(KV_DTYPES),
    )
    .option('--context <n>', 'positions to plan memory for (default: at most 4096)', parseCount);
}

/** The model that the flags name. */
export function modelPath({ model }: Pick<ModelFlags, 'model'>): string {
  return model ?? bundledModelPath();
}

/**
 * Loads the model of the flags, runs the task with it and disposes it. What takes long shows its
 * progress; of a large model the memory plan is shown, and what loading took. Ctrl-C ends all of it,
 * where the task does not do something better (`interruptible`).
 *
 * @param task - its signal is that of Ctrl-C.
 */
export async function withModel<T>(
  flags: LoadFlags,
  io: CliIo,
  task: (model: LoopLM, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const work = async (signal: AbortSignal): Promise<T> => {
    const model = await loadModelOf(flags, io, signal);
    try {
      noteModelFiles(model, io);
      const result = await task(model, signal);
      signal.throwIfAborted();
      return result;
    } finally {
      await model.dispose();
    }
  };
  return interruptible(io, work, { patienceMs: PATIENCE_MS });
}

async function loadModelOf(flags: LoadFlags, io: CliIo, signal: AbortSignal): Promise<LoopLM> {
  const { adapter, gate, threads, kvDtype, context, kvPolicy, maxSequences, updatable, showsPlan } =
    flags;
  let plan: MemoryPlan | undefined;
  const start = io.now();
  const model = await withProgress(flags, io, signal, (options, platform, stop) =>
    openPretrained(
      modelPath(flags),
      {
        ...options,
        ...(adapter !== undefined && { adapter }),
        gate,
        kvDtype,
        context,
        kvPolicy,
        maxSequences,
        updatable,
        ...(threads !== undefined && { numThreads: threads }),
        onPlan(made) {
          stop();
          if (made.totalBytes < SHOWN_PLAN_BYTES && !showsPlan) return;
          plan = made;
          io.stderr.write(`${describePlan(made).join('\n')}\n`);
        },
      },
      LoopLM.load,
      platform,
    ),
  );
  const seconds = ((io.now() - start) / 1000).toFixed(1);
  if (plan) io.stderr.write(`loaded in ${seconds} s, resident ${showBytes(io.memoryBytes())}\n`);
  return model;
}

const OPEN_PROGRESS: Readonly<Record<LoadProgress['stage'], (io: CliIo) => Progress>> = {
  download: (io) => openByteProgress(io, 'pulling'),
  convert: (io) => openByteProgress(io, 'converting'),
  load: (io) => openLateProgress(io, 'loading', 'B'),
};

/** Shows how far downloading, converting and loading are while `work` runs. */
async function withProgress<T>(
  { dtype, revision, offline }: ModelFlags,
  io: CliIo,
  signal: AbortSignal,
  work: (options: PretrainedOptions, platform: HubPlatform, stop: () => void) => Promise<T>,
): Promise<T> {
  const shown = new Map<LoadProgress['stage'], Progress>();
  const stop = () => {
    for (const progress of shown.values()) progress.stop();
  };
  const progress = ({ stage, doneBytes, totalBytes }: LoadProgress) => {
    const display = shown.get(stage) ?? OPEN_PROGRESS[stage](io);
    shown.set(stage, display);
    display.show(doneBytes, totalBytes);
  };
  const onWait = (message: string) => {
    stop();
    io.stderr.write(`${message}\n`);
  };
  try {
    const platform = { ...NODE_PLATFORM, env: io.env };
    return await work({ dtype, revision, offline, signal, progress, onWait }, platform, stop);
  } catch (error) {
    if (!signal.aborted) throw error;
    const isKept = shown.size > 0 && !shown.has('load');
    if (isKept) {
      io.stderr.write('Stopped. What is done is kept; the same command goes on from there.\n');
    }
    throw new InterruptedError();
  } finally {
    stop();
  }
}

/** Says on stderr what one should know of a model's files, and which keys looplm did not use. */
export function noteModelFiles(
  { ignoredKeys, notes }: Pick<ParsedModelConfig, 'ignoredKeys' | 'notes'>,
  io: CliIo,
): void {
  const unused = `config.json has keys that looplm does not use: ${ignoredKeys.join(', ')}`;
  for (const note of [...notes, ...(ignoredKeys.length > 0 ? [unused] : [])]) {
    tellNote(note, io);
  }
}
