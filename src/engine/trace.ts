/**
 * A full-depth pass over a prompt that keeps what every loop computed, for looking inside.
 */
import { hasExitGate, resolveNumLoops } from '../model/index.js';
import { exitDistribution } from './exit-distribution.js';
import { fullDepth } from './exit-policies.js';
import { checkRun } from './request.js';
import type { Runner } from './runner.js';
import { parseSamplingOptions } from './sampler.js';
import { Sequence } from './sequence.js';

export interface TraceOptions {
  /** Loops to run; default the model's own. */
  readonly numLoops?: number;
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

export async function traceLoops(
  runner: Runner,
  ids: readonly number[],
  options: TraceOptions,
): Promise<Trace> {
  const { config } = runner;
  const numLoops = resolveNumLoops(config, options.numLoops);
  const request = { promptIds: ids, maxNewTokens: 1, exitPolicy: fullDepth() };
  checkRun(config, [{ ...request, sampling: parseSamplingOptions({}) }], options);
  const trace: Trace = {
    numLoops,
    length: ids.length,
    hidden: new Float32Array(numLoops * ids.length * config.hiddenSize),
    exitPdf: new Float32Array(numLoops * ids.length),
    exitCdf: new Float32Array(numLoops * ids.length),
    logits: new Float32Array(numLoops * ids.length * config.vocabSize),
  };
  const gateLogits = new Float32Array(numLoops * ids.length);
  const cache = runner.openRun(numLoops);
  try {
    const sequence = new Sequence();
    for (const id of ids) sequence.append(id, { isPrompt: true });
    await cache.reserve(sequence);
    const entries = sequence.tokens.map((token) => ({ sequence, token }));
    for (let loopIndex = 0; loopIndex < numLoops; loopIndex++) {
      gateLogits.set(await cache.runLoop({ entries, plane: loopIndex }), loopIndex * ids.length);
      const states = sequence.tokens.map(({ hidden }) => hidden!);
      await keepLoop(trace, runner, states, loopIndex);
    }
  } finally {
    await cache.dispose();
  }
  fillExits(trace, gateLogits);
  return hasExitGate(config) ? { ...trace, gateLogits } : trace;
}

async function keepLoop(
  { hidden, logits, length }: Trace,
  runner: Runner,
  states: readonly Float32Array[],
  loopIndex: number,
): Promise<void> {
  const { hiddenSize, vocabSize } = runner.config;
  for (let start = 0; start < length; start += READOUT_ROWS) {
    const part = states.slice(start, start + READOUT_ROWS);
    const rows = await runner.readout(part);
    part.forEach((state, index) => {
      const row = loopIndex * length + start + index;
      hidden.set(state, row * hiddenSize);
      logits.set(rows[index]!.logits, row * vocabSize);
    });
  }
}

function fillExits({ numLoops, length, exitPdf, exitCdf }: Trace, gateLogits: Float32Array): void {
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
