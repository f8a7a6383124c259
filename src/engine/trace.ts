/**
 * A full-depth pass over a prompt that keeps what every loop computed, for looking inside.
 */
import { z } from 'zod';
import { CapacityError, RequestError } from '../errors.js';
import { hasExitGate, MAX_STEP_ROWS, resolveNumLoops, showBytes } from '../model/index.js';
import { abortSignal, callback, parseFields } from '../util/parse-fields.js';
import { exitDistribution } from './exit-distribution.js';
import { fullDepth } from './exit-policies.js';
import { SequencePages } from './cache/sequence-pages.js';
import { checkRequests } from './request.js';
import type { ModelRunner, StepRow } from './runner/model-runner.js';
import { parseSamplingOptions } from './sampler.js';

export interface TraceOptions {
  /** Loops to run; default the model's own. */
  readonly numLoops?: number | undefined;
  /** Ends the pass within a batch of tokens: the call throws its reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Called after every batch of tokens, with (token, loop) pairs. `trace`, which reads out all of them,
   * counts each twice: when it is run and when it is read out.
   */
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
  runner: ModelRunner,
  ids: readonly number[],
  options: TraceOptions,
): Promise<Trace> {
  const numLoops = checkPass(runner, ids, options);
  const trace = emptyTrace(runner, numLoops, ids.length);
  const positions = ids.map((_, position) => position);
  const numRows = numLoops * ids.length;
  const onProgress = (done: number) => options.onProgress?.(done, 2 * numRows);
  let start = 0;
  for await (const piece of gatedPieces(runner, [{ ids, positions }], { ...options, onProgress })) {
    for (const name of ARRAYS) copyColumns(piece, trace, name, start);
    start += piece.length;
    onProgress(numRows + numLoops * start);
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
  runner: ModelRunner,
  prompts: readonly TracedPrompt[],
  options: TraceOptions,
): AsyncGenerator<Trace> {
  for await (const piece of gatedPieces(runner, prompts, options)) {
    yield shown(piece, runner);
  }
}

/** A trace with gate logits, also of a model without a gate, whose gate is always shut. */
type GatedTrace = Required<Trace>;

function shown({ gateLogits, ...trace }: GatedTrace, { config }: ModelRunner): Trace {
  return hasExitGate(config) ? { ...trace, gateLogits } : trace;
}

async function* gatedPieces(
  runner: ModelRunner,
  prompts: readonly TracedPrompt[],
  options: TraceOptions,
): AsyncGenerator<GatedTrace> {
  for (const { ids } of prompts) checkPass(runner, ids, options);
  const places = new Places(runner);
  const { weightsVersion } = runner;
  try {
    const loops = await runLoops(runner, prompts, places, options);
    const numRows = loops[0]?.states.length ?? 0;
    for (let start = 0; start < numRows; start += READOUT_ROWS) {
      options.signal?.throwIfAborted();
      const piece = await readPiece(runner, loops, start, Math.min(start + READOUT_ROWS, numRows));
      if (runner.weightsVersion !== weightsVersion) {
        throw new RequestError(
          'The weights changed while loops were traced; a trace is of one model. Trace between two updates.',
        );
      }
      yield piece;
    }
  } finally {
    places.release();
  }
}

/** Loops to run, of a pass that can be run. @throws LoopLMError if it cannot */
function checkPass({ config }: ModelRunner, ids: readonly number[], options: TraceOptions): number {
  const numLoops = resolveNumLoops(config, options.numLoops);
  const sampling = parseSamplingOptions({});
  const request = { promptIds: ids, maxNewTokens: 1, exitPolicy: fullDepth(), sampling };
  checkRequests(config, [{ ...request, numLoops }]);
  return numLoops;
}

/** What one loop leaves at the positions asked for. */
interface LoopOutputs {
  /** Where the states lie on the device. */
  readonly states: readonly number[];
  readonly gateLogits: readonly number[];
}

/** Runs all loops of all tokens; of what they leave, only the positions asked for are kept. */
async function runLoops(
  runner: ModelRunner,
  prompts: readonly TracedPrompt[],
  places: Places,
  { signal, onProgress, ...options }: TraceOptions,
): Promise<readonly LoopOutputs[]> {
  const numLoops = resolveNumLoops(runner.config, options.numLoops);
  const tokens = prompts.flatMap(({ ids, positions }) => {
    const pages = places.pages(numLoops);
    const chosen = new Set(positions);
    return ids.map((id, position) => {
      return { id, position, pages, isChosen: chosen.has(position), state: places.state() };
    });
  });
  const outputs: LoopOutputs[] = [];
  for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
    const gateLogits: number[] = [];
    for (let start = 0; start < tokens.length; start += MAX_STEP_ROWS) {
      signal?.throwIfAborted();
      const rows = tokens.slice(start, start + MAX_STEP_ROWS).map((token): StepRow => {
        const { id, position, pages, isChosen, state } = token;
        pages.reserve([loopIndex], position + 1);
        // The next loop begins where this one leaves off; states of earlier loops stay.
        if (isChosen) token.state = places.state();
        return {
          state,
          into: token.state,
          ...(loopIndex === 0 && { tokenId: id }),
          position,
          pages: pages.table(loopIndex),
          slot: pages.slot(loopIndex, position),
          isPrompt: true,
        };
      });
      const result = await runner.step({ rows });
      gateLogits.push(...Array.from(result.gateLogits));
      onProgress?.(loopIndex * tokens.length + gateLogits.length, numLoops * tokens.length);
    }
    outputs.push({
      states: tokens.flatMap(({ isChosen, state }) => (isChosen ? [state] : [])),
      gateLogits: gateLogits.filter((_, index) => tokens[index]!.isChosen),
    });
  }
  return outputs;
}

/** Places on the device that a pass has taken. */
class Places {
  readonly #runner: ModelRunner;
  readonly #pages: SequencePages[] = [];
  readonly #states: number[] = [];

  constructor(runner: ModelRunner) {
    this.#runner = runner;
  }

  pages(numPlanes: number): SequencePages {
    const pages = new SequencePages(this.#runner.pages, numPlanes);
    this.#pages.push(pages);
    return pages;
  }

  state(): number {
    const state = this.#runner.states.take();
    this.#states.push(state);
    return state;
  }

  release(): void {
    for (const pages of this.#pages) pages.release();
    this.#runner.states.give(this.#states);
  }
}

async function readPiece(
  runner: ModelRunner,
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
    const readouts = await runner.readout(part);
    const hidden = await runner.hidden(part);
    for (const index of part.keys()) {
      trace.hidden.set(hidden[index]!, (first + index) * hiddenSize);
      trace.logits.set(readouts[index]!.logits, (first + index) * vocabSize);
    }
  }
  fillExits(trace);
  return trace;
}

/** @throws CapacityError if there is no memory for it */
function emptyTrace({ config }: ModelRunner, numLoops: number, length: number): GatedTrace {
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
