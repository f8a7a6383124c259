/**
 * Runs of the engine as tests read them, and what the definition says about a finished one.
 */
import { expect } from 'vitest';
import type {
  Engine,
  EngineEvent,
  ExitPolicy,
  FinishEvent,
  GenerationRequest,
  KvPolicy,
  TokenEvent,
} from '../../src/engine/index.js';
import { confidence, logitKl, parseSamplingOptions, stateDelta } from '../../src/engine/index.js';
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import type { ReadVersion, ReferenceInput, ReferenceToken } from './reference-model.js';
import { referenceRun, softmax } from './reference-model.js';

const GREEDY = parseSamplingOptions({});

/** A greedy request. */
export function requestOf(
  promptIds: readonly number[],
  exitPolicy: ExitPolicy,
  rest: Partial<GenerationRequest> = {},
): GenerationRequest {
  return { promptIds, exitPolicy, maxNewTokens: 6, sampling: GREEDY, ...rest };
}

/** One sequence of a finished run. */
export interface SequenceRun {
  readonly tokens: readonly TokenEvent[];
  readonly finish: FinishEvent;
}

/** What all requests of a run have in common. */
export type RunOptions = Partial<GenerationRequest>;

/** Runs to the end. Fails unless every sequence has exactly one finish event, as its last. */
export async function runAll(
  engine: Engine,
  requests: readonly GenerationRequest[],
  options: RunOptions = {},
): Promise<readonly SequenceRun[]> {
  const events: EngineEvent[][] = requests.map(() => []);
  for await (const event of engine.generate(
    requests.map((request) => ({ ...request, ...options })),
  )) {
    events[event.requestIndex]!.push(event);
  }
  return events.map((ofSequence) => {
    const finish = ofSequence.at(-1);
    const tokens = ofSequence.slice(0, -1).filter((event) => event.kind === 'token');
    expect(finish?.kind).toBe('finish');
    expect(tokens).toHaveLength(ofSequence.length - 1);
    expect(tokens.map(({ tokenIndex }) => tokenIndex)).toEqual(tokens.map((_, index) => index));
    return { tokens, finish: finish as FinishEvent };
  });
}

const READ_VERSION: Record<KvPolicy, (promptLength: number) => ReadVersion> = {
  'per-loop': () => (depth) => depth,
  'last-exited': () => (depth, ran) => Math.min(depth, ran),
  // the prompt itself runs loop by loop; after it, only each token's last loop is left
  shared: (promptLength) => (depth, ran, reader) => (reader < promptLength ? depth : ran),
};

/**
 * What the definition says of the positions that a recorded run fed: the prompt at full depth, and
 * each new token but the last at the depth it exited at (under `per-loop` at full depth, since
 * there nobody can notice who exited).
 */
export function referenceOf(
  config: LoopLMConfig,
  weights: ModelWeights,
  { finish }: SequenceRun,
): readonly ReferenceToken[] {
  const { promptIds, tokenIds, exitDepths, kvPolicy, numLoops } = finish.rollout!;
  const fed = tokenIds.slice(0, -1).map((id, index): ReferenceInput => ({
    id,
    depth: kvPolicy === 'per-loop' ? numLoops : exitDepths[index + 1]!,
  }));
  const inputs = [...promptIds.map((id) => ({ id, depth: numLoops })), ...fed];
  return referenceRun(config, weights, inputs, READ_VERSION[kvPolicy](promptIds.length));
}

/** Largest difference of a recorded run from the definition, in log-probabilities and gate logits. */
export function driftFrom(reference: readonly ReferenceToken[], { tokens, finish }: SequenceRun) {
  const { promptIds, tokenIds, exitDepths, prefill, numLoops, ...record } = finish.rollout!;
  let drift = 0;
  const compare = (actual: number, expected: number) => {
    const difference = Math.abs(actual - expected);
    drift = difference <= drift ? drift : difference; // a NaN wins
  };
  tokenIds.forEach((id, n) => {
    const expected = reference[promptIds.length - 1 + n]!;
    const numExecuted = n === 0 && prefill === 'full' ? numLoops : exitDepths[n]!;
    expect(record.loopLogprobs[n]).toHaveLength(numExecuted);
    expect(record.gateLogits?.[n]?.length).toBe(
      expected.gateLogits.length === 0 ? undefined : numExecuted,
    );
    const logprobs = expected.logits.map((row) => Math.log(softmax(row)[id]!));
    record.loopLogprobs[n]!.forEach((logprob, loop) => compare(logprob, logprobs[loop]!));
    record.gateLogits?.[n]!.forEach((gate, loop) => compare(gate, expected.gateLogits[loop]!));
    compare(record.logprobs[n]!, logprobs[exitDepths[n]! - 1]!);
    // greedy: the chosen token is the best, within the same drift
    const row = expected.logits[exitDepths[n]! - 1]!;
    compare(row[tokens[n]!.sampledId]!, Math.max(...row));
  });
  return drift;
}

/**
 * Fails unless each token exited at the first depth whose exit CDF reaches the threshold, by the
 * gates of the definition. A CDF closer to the threshold than `margin` may count either way.
 */
export function expectQExit(
  reference: readonly ReferenceToken[],
  { finish }: SequenceRun,
  exitThreshold: number,
  margin: number,
): void {
  const { promptIds, exitDepths, numLoops } = finish.rollout!;
  exitDepths.forEach((exitDepth, n) => {
    const { gateLogits } = reference[promptIds.length - 1 + n]!;
    let survival = 1;
    for (let depth = 1; depth <= exitDepth; depth++) {
      survival /= 1 + Math.exp(gateLogits[depth - 1]!);
      const exitCdf = depth === numLoops ? 1 : 1 - survival;
      if (depth < exitDepth) expect(exitCdf).toBeLessThan(exitThreshold + margin);
      else expect(exitCdf).toBeGreaterThan(exitThreshold - margin);
    }
  });
}

/** How far each policy is from exiting at a depth, from the definition; an exit where negative. */
export const EXIT_MEASURES = {
  delta: {
    policy: stateDelta,
    limits: { min: 0.05, max: 1.5 },
    excess: ({ hidden }: ReferenceToken, loop: number, eps: number) => {
      if (loop === 0) return Infinity;
      const [now, before] = [hidden[loop]!, hidden[loop - 1]!];
      const difference = now.map((value, i) => value - before[i]!);
      return Math.hypot(...difference) - eps * Math.hypot(...before);
    },
  },
  kl: {
    policy: logitKl,
    limits: { min: 0.01, max: 1 },
    excess: ({ logits }: ReferenceToken, loop: number, eps: number) => {
      if (loop === 0) return Infinity;
      const [now, before] = [softmax(logits[loop]!), softmax(logits[loop - 1]!)];
      return now.reduce((total, p, i) => total + p * Math.log(p / before[i]!), 0) - eps;
    },
  },
  confidence: {
    policy: confidence,
    limits: { min: 0.15, max: 0.8 },
    excess: ({ logits }: ReferenceToken, loop: number, topProb: number) =>
      topProb - Math.max(...softmax(logits[loop]!)),
  },
} as const;

/**
 * Fails unless each token of a run exited at the first depth where the definition of its policy does.
 * What is closer to the limit than `margin` may count either way.
 */
export function expectExits(
  reference: readonly ReferenceToken[],
  { tokens, finish }: SequenceRun,
  { name, limit }: { readonly name: keyof typeof EXIT_MEASURES; readonly limit: number },
  margin: number,
): void {
  const { promptIds, numLoops } = finish.rollout!;
  const { excess } = EXIT_MEASURES[name];
  tokens.forEach(({ exitDepth }, n) => {
    const token = reference[promptIds.length - 1 + n]!;
    for (let loop = 0; loop < exitDepth - 1; loop++) {
      expect(excess(token, loop, limit)).toBeGreaterThan(-margin);
    }
    if (exitDepth === numLoops) return;
    expect(excess(token, exitDepth - 1, limit)).toBeLessThan(margin);
  });
}
