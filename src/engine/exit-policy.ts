/**
 * When a token stops looping: what an exit policy is, and the one place where its answers count.
 *
 * The one idea: a policy is a stateless value; for every token it starts a decider, which is shown
 * each loop in turn and says "exit" once. `ExitTracker` feeds the decider, keeps the exit CDF and
 * ends the last loop, so that no policy needs to know about the end.
 * Knows nothing of tensors, batches, caches or how a readout is computed.
 * Source: Ouro (arXiv 2510.25741) for Q-exit; exit-policies.ts holds the policies themselves.
 */
import { assert, CheckpointError, ConfigError } from '../errors.js';
import { sigmoid } from './exit-distribution.js';

/** What a decider sees after a loop. Rows are borrowed: they may be overwritten after the call. */
export interface LoopObservation {
  /** Loops run so far by this token, 1 to `numLoops`. */
  readonly depth: number;
  /** The exit gate's logit after this loop, before the sigmoid; minus infinity without a gate. */
  readonly gateLogit: number;
  /** Probability, by the gate, of having exited by now: 1 - prod(1 - lambda), in float64. */
  readonly exitCdf: number;
  /** Readout of this loop `[V]`; present if the policy needs logits. */
  readonly logits?: Float32Array;
  /** h after this loop `[D]`, which readout and gate take; present if the policy needs it. */
  readonly hidden?: Float32Array;
}

/** Decides for one token; asked after every loop, in order, until it answers true. May keep state. */
export type ExitDecider = (observation: LoopObservation) => boolean;

/** Identifies one token of a run; an exit decision may depend on nothing else but observations. */
export interface ExitContext {
  /** Loops of this run, R. It may be more than the model was trained with. */
  readonly numLoops: number;
  /** The request's seed, 0 to 2^53 - 1. */
  readonly seed: number;
  /**
   * Index of the generated token whose logits are chosen, from 0. Negative in an adaptive prefill: -1
   * for the last prompt token, which decides nothing new.
   */
  readonly tokenIndex: number;
}

/** A rule that says how deep each token goes. Values compose: `anyOf`, `allOf`, `withDepthBounds`. */
export interface ExitPolicy {
  /** Canonical spec, such as `cdf:0.5`; `parseExitPolicy(name)` gives the same policy back. */
  readonly name: string;
  /**
   * What it reads after every loop. A model without an exit gate cannot be run under a policy that
   * needs the gate, by itself or through `exitCdf`.
   */
  readonly needs: { readonly gate: boolean; readonly logits: boolean; readonly hidden: boolean };
  /** The deepest depth that the policy names, 1 if it names none; a run needs that many loops. */
  readonly deepestDepth: number;
  /** Starts the decider of one token. */
  start(context: ExitContext): ExitDecider;
}

/** Whether a value of unknown origin is an exit policy, as far as can be seen without running it. */
export function isExitPolicy(value: unknown): value is ExitPolicy {
  if (typeof value !== 'object' || value === null) return false;
  const { name, needs, deepestDepth, start } = value as Partial<Record<keyof ExitPolicy, unknown>>;
  return (
    typeof name === 'string' &&
    typeof needs === 'object' &&
    needs !== null &&
    Number.isSafeInteger(deepestDepth) &&
    typeof start === 'function'
  );
}

/** Refuses a policy that reads an exit gate, for a model that has none. @throws ConfigError */
export function checkGateless(policy: ExitPolicy, architecture: string): void {
  if (!policy.needs.gate) return;
  throw new ConfigError(
    'exitPolicy',
    `Exit policy ${policy.name} reads the exit gate, and models of the architecture ${architecture} ` +
      'have none; use full, fixed:N, delta:EPS, kl:EPS, confidence:P or replay:N,N,...',
  );
}

/**
 * Refuses a policy that names a depth this run does not have.
 *
 * @throws ConfigError with the depth and the number of loops.
 */
export function checkExitPolicy(policy: ExitPolicy, numLoops: number): void {
  if (policy.deepestDepth <= numLoops) return;
  throw new ConfigError(
    'exitPolicy',
    `Exit policy ${policy.name} names depth ${policy.deepestDepth}, but the run has ${numLoops} ` +
      `loops; depths must be 1 to ${numLoops}. Name smaller depths or run more loops.`,
  );
}

/** Follows one token through its loops and says after which one it exits. */
export class ExitTracker {
  readonly #decide: ExitDecider;
  readonly #numLoops: number;
  #depth = 0;
  #survival = 1;
  #hasExited = false;

  /** @throws ConfigError if the policy does not fit the run or, for `replay`, has no such token. */
  constructor(policy: ExitPolicy, context: ExitContext) {
    checkExitPolicy(policy, context.numLoops);
    this.#decide = policy.start(context);
    this.#numLoops = context.numLoops;
  }

  /** Loops observed so far; the exit depth once `observe` has answered true. */
  get depth(): number {
    return this.#depth;
  }

  /**
   * Takes the outcome of the token's next loop; true if the token exits here. The last loop is
   * always an exit. Must not be called after it answered true.
   *
   * @throws CheckpointError if the gate logit is NaN.
   */
  observe(loop: Omit<LoopObservation, 'depth' | 'exitCdf'>): boolean {
    assert(!this.#hasExited, `a token that exited at depth ${this.#depth} was shown another loop`);
    if (Number.isNaN(loop.gateLogit)) throw nanGate(this.#depth + 1);
    this.#depth += 1;
    this.#survival *= sigmoid(-loop.gateLogit);
    const observation = { ...loop, depth: this.#depth, exitCdf: 1 - this.#survival };
    // the decider comes first: it sees every loop, the last one too
    this.#hasExited = this.#decide(observation) || this.#depth === this.#numLoops;
    return this.#hasExited;
  }
}

function nanGate(depth: number): CheckpointError {
  return new CheckpointError(
    `The exit gate's logit is NaN after loop ${depth}; it must be a number. The weights are ` +
      'damaged or overflow: check them with `looplm inspect`.',
  );
}
