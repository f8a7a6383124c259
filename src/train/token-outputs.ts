/** What a forward pass says of every token of a batch, at every depth. */
import type { TrainingBatch } from '../data/index.js';
import type { Tensor } from '../graph/index.js';
import { buildGraph } from '../graph/index.js';
import type { LoopLMConfig } from '../model/index.js';
import type { HostTensor, Program, ResidentWeights } from '../runtime/index.js';
import { batchFeeds } from './batch-feeds.js';
import type { ObjectiveGraph } from './objective-graph.js';
import { objectiveGraph } from './objective-graph.js';
import type { ExitInput, ExtraInput } from './objectives/index.js';
import { objectiveOf } from './objectives/index.js';

/** By loop, from 0, and then by position of the batch, row-major. */
export interface TokenOutputs {
  /** Log-probability of the target; 0 where none counts. */
  readonly logProbs: readonly Float32Array[];
  /** Log-probability of exiting after the loop, by the gate; of no meaning without one. */
  readonly exitLogProbs: readonly Float32Array[];
}

export const TOKEN_OUTPUTS = ['tokenLoss', 'tokenLogPdf'] as const;

/** Outputs of a program that `readTokenOutputs` reads. */
export function tokenOutputs(
  graph: Pick<ObjectiveGraph, (typeof TOKEN_OUTPUTS)[number]>,
): Readonly<Record<string, Tensor>> {
  return { tokenLoss: graph.tokenLoss, tokenLogPdf: graph.tokenLogPdf };
}

export function readTokenOutputs(
  result: Readonly<Record<string, HostTensor>>,
): TokenOutputs | undefined {
  const [losses, logPdf] = TOKEN_OUTPUTS.map((name) => result[name]);
  if (!losses || !logPdf) return undefined;
  return {
    logProbs: rowsOf(losses).map((row) => row.map((value) => -value)),
    exitLogProbs: rowsOf(logPdf),
  };
}

function rowsOf({ data, dims }: HostTensor): readonly Float32Array[] {
  const [numRows, width] = dims as readonly [number, number];
  return Array.from({ length: numRows }, (_, row) =>
    (data as Float32Array).subarray(row * width, (row + 1) * width),
  );
}

/** Scores the targets of batches of one size by the weights that buffers of a device hold. */
export class TokenScorer {
  readonly #config: LoopLMConfig;
  readonly #weights: ResidentWeights;
  readonly #program: Program;
  readonly #extraInputs: readonly ExtraInput[];

  private constructor(
    config: LoopLMConfig,
    weights: ResidentWeights,
    program: Program,
    extraInputs: readonly ExtraInput[],
  ) {
    this.#config = config;
    this.#weights = weights;
    this.#program = program;
    this.#extraInputs = extraInputs;
  }

  /**
   * The weights are borrowed; the caller disposes the scorer.
   *
   * @param exits - as an objective has them
   */
  static async create(
    config: LoopLMConfig,
    weights: ResidentWeights,
    size: Pick<TrainingBatch, 'rows' | 'length'>,
    exits?: ExitInput,
  ): Promise<TokenScorer> {
    const extraInputs = exits ? [exits.input] : [];
    const objective = { ...objectiveOf({ kind: 'last-loop' }), extraInputs, exits };
    const graph = objectiveGraph(config, { ...size, objective });
    const program = await weights.device.compile(buildGraph(tokenOutputs(graph)));
    return new TokenScorer(config, weights, program, extraInputs);
  }

  async score(batch: TrainingBatch): Promise<TokenOutputs> {
    const { device, buffers } = this.#weights;
    const ofBatch = batchFeeds(batch, this.#config, 1, { extraInputs: this.#extraInputs });
    const feeds = { ...ofBatch, ...Object.fromEntries(buffers) };
    const used = Object.fromEntries(
      Object.entries(feeds).filter(([name]) => this.#program.inputNames.includes(name)),
    );
    const [result] = await device.submit([
      { kind: 'run', program: this.#program, feeds: used, fetch: [...TOKEN_OUTPUTS] },
    ]);
    return readTokenOutputs(result!)!;
  }

  async dispose(): Promise<void> {
    await this.#weights.device.free(this.#program);
  }
}
