/**
 * A full-depth pass over a prompt that keeps what every loop computed, for looking inside.
 */
import { z } from 'zod';
import { CapacityError } from '../errors.js';
import { hasExitGate, resolveNumLoops, showBytes } from '../model/index.js';
import { abortSignal, callback, parseFields } from '../util/parse-fields.js';
import { exitDistribution } from './exit-distribution.js';
import { fullDepth } from './exit-policies.js';
import { checkRun } from './request.js';
import type { Runner } from './runner.js';
import { MAX_BATCH_TOKENS } from './runner.js';
import { parseSamplingOptions } from './sampler.js';
import { Sequence } from './sequence.js';

export interface TraceOptions {
  /** Loops to run; default the model's own. */
  readonly numLoops?: number | undefined;
  /** Ends the pass within a batch of tokens: the call throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every batch of tokens, with (token, loop) pairs. */
  readonly onProgress?: ((executedLoops: number, totalLoops: number) => void) | undefined;
}

const optionsSchema = z.strictObject(
  {
    numLoops: z.number("it must be a whole number. Leave it out for the model's own.").optional(),
    signal: abortSignal.optional(),
    onProgress: callback<NonNullable<TraceOptions['onProgress']>>().optional(),
  } satisfies Record<keyof TraceOptions, z.ZodType>,
  'they must be an object. Use {} for the defaults.',
);

/** @throws ConfigError for an option that is unknown or of the wrong kind */
export function parseTraceOptions(value: unknown): TraceOptions {
  return parseFields(optionsSchema, value, 'the trace options');
}

/** Arrays are row-major; R loops, T positions. */
export interface Trace {
  readonly numLoops: number;
  readonly length: number;
  /** h after every loop, which readout and gate take, `[R, T, D]`. */
  readonly hidden: Float32Array;
  /** `[R, T]`, before the sigmoid; absent if the model has no exit gate. */
  readonly gateLogits?: Float32Array;
  /** Probability of exiting after exactly this loop, `[R, T]`; without a gate that is the last one. */
  readonly exitPdf: Float32Array;
  /** Probability of having exited by this loop, `[R, T]`. */
  readonly exitCdf: Float32Array;
  /** `[R, T, V]`. */
  readonly logits: Float32Array;
}

/** Readouts are done in pieces of this many positions. */
const READOUT_ROWS = 64;

/** The whole trace of a prompt. */
export async function traceLoops(
  runner: Runner,
  ids: readonly number[],
  options: TraceOptions,
): Promise<Trace> {
  const trace = emptyTrace(runner, checkPass(runner, ids, options), ids.length);
  const positions = ids.map((_, position) => position);
  let start = 0;
  for await (const piece of gatedPieces(runner, [{ ids, positions }], options)) {
    for (const name of ARRAYS) copyColumns(piece, trace, name, start);
    start += piece.length;
  }
  return shown(trace, runner);
}

/** A prompt of which some positions are asked for. */
export interface TracedPrompt {
  readonly ids: readonly number[];
  readonly positions: readonly number[];
}

/** What is computed at the positions of the prompts, in their order and a few at a time. */
export async function* tracePieces(
  runner: Runner,
  prompts: readonly TracedPrompt[],
  options: TraceOptions,
): AsyncGenerator<Trace> {
  for await (const piece of gatedPieces(runner, prompts, options)) {
    yield shown(piece, runner);
  }
}

/** A trace with gate logits, also of a model without a gate, whose gate is always shut. */
type GatedTrace = Required<Trace>;

function shown({ gateLogits, ...trace }: GatedTrace, { config }: Runner): Trace {
  return hasExitGate(config) ? { ...trace, gateLogits } : trace;
}

async function* gatedPieces(
  runner: Runner,
  prompts: readonly TracedPrompt[],
  options: TraceOptions,
): AsyncGenerator<GatedTrace> {
  for (const { ids } of prompts) checkPass(runner, ids, options);
  const loops = await runLoops(runner, prompts, options);
  const numRows = loops[0]?.states.length ?? 0;
  for (let start = 0; start < numRows; start += READOUT_ROWS) {
    options.signal?.throwIfAborted();
    yield await readPiece(runner, loops, start, Math.min(start + READOUT_ROWS, numRows));
  }
}

/** Loops to run, of a pass that can be run. @throws LoopLMError if it cannot */
function checkPass({ config }: Runner, ids: readonly number[], options: TraceOptions): number {
  const numLoops = resolveNumLoops(config, options.numLoops);
  const request = { promptIds: ids, maxNewTokens: 1, exitPolicy: fullDepth() };
  checkRun(config, [{ ...request, sampling: parseSamplingOptions({}) }], { numLoops });
  return numLoops;
}

/** What one loop leaves at the positions asked for. */
interface LoopOutputs {
  readonly states: readonly Float32Array[]; // [D] each
  readonly gateLogits: readonly number[];
}

/** Runs all loops of all tokens; of what they leave, only the positions asked for are kept. */
async function runLoops(
  runner: Runner,
  prompts: readonly TracedPrompt[],
  { signal, onProgress, ...options }: TraceOptions,
): Promise<readonly LoopOutputs[]> {
  const numLoops = resolveNumLoops(runner.config, options.numLoops);
  const sequences = prompts.map(({ ids }) => {
    const sequence = new Sequence();
    for (const id of ids) sequence.append(id, { isPrompt: true });
    return sequence;
  });
  const entries = sequences.flatMap((sequence) =>
    sequence.tokens.map((token) => ({ sequence, token })),
  );
  const chosen: number[] = [];
  let first = 0;
  for (const { ids, positions } of prompts) {
    for (const position of positions) chosen.push(first + position);
    first += ids.length;
  }
  const outputs: LoopOutputs[] = [];
  const cache = runner.openRun(numLoops);
  try {
    for (const sequence of sequences) await cache.reserve(sequence);
    for (let plane = 0; plane < numLoops; plane++) {
      const gateLogits: number[] = [];
      while (gateLogits.length < entries.length) {
        signal?.throwIfAborted();
        const start = gateLogits.length;
        const batch = entries.slice(start, start + MAX_BATCH_TOKENS);
        gateLogits.push(...(await cache.runLoop({ entries: batch, plane })));
        onProgress?.(plane * entries.length + gateLogits.length, numLoops * entries.length);
      }
      outputs.push({
        states: chosen.map((index) => entries[index]!.token.hidden!),
        gateLogits: chosen.map((index) => gateLogits[index]!),
      });
    }
  } finally {
    await cache.dispose();
  }
  return outputs;
}

async function readPiece(
  runner: Runner,
  loops: readonly LoopOutputs[],
  start: number,
  end: number,
): Promise<GatedTrace> {
  const { hiddenSize, vocabSize } = runner.config;
  const trace = emptyTrace(runner, loops.length, end - start);
  for (const [loopIndex, { states, gateLogits }] of loops.entries()) {
    const first = loopIndex * trace.length;
    trace.gateLogits.set(gateLogits.slice(start, end), first);
    const part = states.slice(start, end);
    const rows = await runner.readout(part);
    part.forEach((state, index) => {
      trace.hidden.set(state, (first + index) * hiddenSize);
      trace.logits.set(rows[index]!.logits, (first + index) * vocabSize);
    });
  }
  fillExits(trace);
  return trace;
}

/** @throws CapacityError if there is no memory for it */
function emptyTrace({ config }: Runner, numLoops: number, length: number): GatedTrace {
  const { hiddenSize, vocabSize } = config;
  const array = (width: number) => new Float32Array(numLoops * length * width);
  try {
    return {
      numLoops,
      length,
      hidden: array(hiddenSize),
      gateLogits: array(1),
      exitPdf: array(1),
      exitCdf: array(1),
      logits: array(vocabSize),
    };
  } catch (cause) {
    const bytes = 4 * numLoops * length * (hiddenSize + vocabSize);
    throw new CapacityError(
      `A trace of ${length} tokens over ${numLoops} loops takes ${showBytes(bytes)}, which are not free. Trace a shorter prompt, or fewer loops.`,
      { cause },
    );
  }
}

const ARRAYS = ['hidden', 'gateLogits', 'exitPdf', 'exitCdf', 'logits'] as const;

/** Puts the positions of a piece into the whole, from position `start` on. */
function copyColumns(
  piece: GatedTrace,
  whole: GatedTrace,
  name: (typeof ARRAYS)[number],
  start: number,
): void {
  const width = piece[name].length / (piece.numLoops * piece.length);
  const size = piece.length * width;
  for (let loopIndex = 0; loopIndex < piece.numLoops; loopIndex++) {
    const rows = piece[name].subarray(loopIndex * size, (loopIndex + 1) * size);
    whole[name].set(rows, (loopIndex * whole.length + start) * width);
  }
}

function fillExits({ numLoops, length, gateLogits, exitPdf, exitCdf }: GatedTrace): void {
  for (let position = 0; position < length; position++) {
    const at = (loopIndex: number) => loopIndex * length + position;
    const gates = Array.from({ length: numLoops }, (_, loopIndex) => gateLogits[at(loopIndex)]!);
    const distribution = exitDistribution(gates);
    for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
      exitPdf[at(loopIndex)] = distribution.exitPdf[loopIndex]!;
      exitCdf[at(loopIndex)] = distribution.exitCdf[loopIndex]!;
    }
  }
}
