/**
 * A stress run: random requests of every kind, at random times, with memory for a quarter of them; a
 * third are given up. Nothing may be lost, nothing mixed up, and all memory must come back.
 */
import type { EngineOptions } from '../../src/engine/index.js';
import { Engine } from '../../src/engine/index.js';
import { PAGE_SIZE } from '../../src/engine/cache/sequence-pages.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import { kvPlaneBytes } from '../../src/model/index.js';
import { compareAlone, sampleOf } from './alone.js';
import type { Outcome, PlayOptions } from './play.js';
import { play } from './play.js';
import type { StressRequest } from './requests.js';
import { drawRequest } from './requests.js';

export interface StressOptions extends PlayOptions {
  /** Of the finished requests, and of the others, so many are compared with running alone. */
  readonly numCompared: { readonly finished: number; readonly others: number };
  /** Told of each comparison. */
  readonly onCompared?: (numDone: number, numAll: number) => void;
}

/** What came of a run. */
export interface StressReport {
  readonly outcomes: readonly Outcome[];
  readonly numCompared: { readonly finished: number; readonly others: number };
  /** Pages of keys and values that there were, for how many requests of the mean size that is enough. */
  readonly numPages: number;
  readonly numPreemptions: number;
  /** (token, loop) pairs. */
  readonly numExecuted: number;
  /** What is wrong with the whole. */
  readonly faults: readonly string[];
}

/** Requests whose size is taken for that of all. */
const NUM_WEIGHED = 500;

/** Pages of a request in all planes, when it has gone as long and as deep as it may. */
function pagesOf({ request }: StressRequest, { maxPositionEmbeddings }: LoopLMConfig): number {
  const { promptIds, maxNewTokens, numLoops } = request;
  const length = Math.min(promptIds.length + maxNewTokens, maxPositionEmbeddings);
  return numLoops! * Math.ceil(length / PAGE_SIZE);
}

/** Enough for a quarter of what may be under way, and for any one alone. */
function pagesForAQuarter(config: LoopLMConfig, { seed, maxCalls }: PlayOptions): number {
  const sizes = Array.from({ length: NUM_WEIGHED }, (_, index) =>
    pagesOf(drawRequest(seed, index, config), config),
  );
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  const largest = (config.numLoops + 2) * Math.ceil(config.maxPositionEmbeddings / PAGE_SIZE);
  return Math.max(largest, Math.ceil((maxCalls * mean) / 4));
}

/** @param model - what both engines are made of; types of keys and values are f32 */
export async function stress(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  options: StressOptions,
): Promise<StressReport> {
  const { config } = model;
  const { seed, signal, numCompared, onCompared } = options;
  const numPages = pagesForAQuarter(config, options);
  const maxKvBytes = numPages * PAGE_SIZE * kvPlaneBytes(config, 'f32');
  const limits = { maxStepRows: 200, maxLargeRows: 50 };
  await using engine = await Engine.create({ ...model, maxKvBytes, limits });
  await using alone = await Engine.create({ ...model, maxPrefixBytes: 0 });
  const outcomes = await play(engine, options);
  const faults: string[] = [];
  if (engine.numPagesUsed > 0) faults.push(`${engine.numPagesUsed} pages did not come back`);
  if (engine.numStatesUsed > 0) faults.push(`${engine.numStatesUsed} states did not come back`);
  const finished = outcomes.filter(({ end }) => end === 'finished');
  const others = outcomes.filter(({ end, tokens }) => end !== 'finished' && tokens.length > 0);
  const samples = [
    ...sampleOf(finished, numCompared.finished, seed),
    ...sampleOf(others, numCompared.others, seed),
  ];
  const done: Outcome[] = [];
  for (const outcome of samples) {
    if (signal?.aborted) break;
    await compareAlone(alone, seed, outcome);
    done.push(outcome);
    onCompared?.(done.length, samples.length);
  }
  const numFinished = done.filter(({ end }) => end === 'finished').length;
  return {
    outcomes,
    numCompared: { finished: numFinished, others: done.length - numFinished },
    numPages,
    numPreemptions: engine.numPreemptions,
    numExecuted: engine.numExecuted,
    faults,
  };
}
