/**
 * Runs one loop for a batch of tokens: feeds, cache rows and masks for the loop program.
 *
 * The tokens may belong to any sequences but stand at the same loop. Which plane they read and
 * write is said by the caller. It knows no policy, no sampling and no text.
 */
import type { LoopLMConfig, ModelWeights } from '../model/index.js';
import { ropeAngles } from '../model/index.js';
import type { Device, HostTensor, Program } from '../runtime/index.js';
import type { KvCache } from './kv-cache.js';
import { loopGraph, readoutGraph } from './programs.js';
import type { Sequence, SequenceToken } from './sequence.js';

/** A token of a batch with the sequence it belongs to. */
export interface BatchEntry {
  readonly sequence: Sequence;
  readonly token: SequenceToken;
}

export interface LoopRun {
  /** At the same depth; of one sequence in the order of their positions. */
  readonly entries: readonly BatchEntry[];
  /** Plane of the cache that holds what earlier tokens left for this loop, and gets the new rows. */
  readonly plane: number;
}

/** Far below any score; a query always sees at least itself. */
const HIDDEN_SCORE = -1e9;

/** Tokens of one program run; longer batches are cut, in order. */
const MAX_BATCH_TOKENS = 256;

export class Runner {
  readonly config: LoopLMConfig;
  readonly device: Device;
  readonly #embedding: Float32Array; // [V, D]
  readonly #loop: Program;
  readonly #readout: Program;
  #numExecuted = 0;

  private constructor(
    device: Device,
    config: LoopLMConfig,
    embedding: Float32Array,
    programs: { readonly loop: Program; readonly readout: Program },
  ) {
    this.device = device;
    this.config = config;
    this.#embedding = embedding;
    this.#loop = programs.loop;
    this.#readout = programs.readout;
  }

  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: ModelWeights,
  ): Promise<Runner> {
    const programs = {
      loop: await device.compile(loopGraph(config, weights)),
      readout: await device.compile(readoutGraph(config, weights)),
    };
    return new Runner(device, config, weights.get('model.embed_tokens.weight')!, programs);
  }

  /** (token, loop) pairs computed so far. */
  get numExecuted(): number {
    return this.#numExecuted;
  }

  /** A copy of a token's embedding `[D]`. */
  embed(id: number): Float32Array {
    const { hiddenSize } = this.config;
    return this.#embedding.slice(id * hiddenSize, (id + 1) * hiddenSize);
  }

  /**
   * Runs the next loop of every entry: its hidden state and depth advance and its keys and values
   * are written. Returns the gate logit of each entry.
   */
  async runLoop(run: LoopRun, cache: KvCache): Promise<readonly number[]> {
    const gateLogits: number[] = [];
    for (let start = 0; start < run.entries.length; start += MAX_BATCH_TOKENS) {
      const entries = run.entries.slice(start, start + MAX_BATCH_TOKENS);
      gateLogits.push(...(await this.#runChunk({ ...run, entries }, cache)));
    }
    return gateLogits;
  }

  /** Logits `[V]` of each hidden state `[D]`. */
  async readout(states: readonly Float32Array[]): Promise<readonly Float32Array[]> {
    const { vocabSize } = this.config;
    const h = this.#stack(states);
    const [result] = await this.device.submit([
      { kind: 'run', program: this.#readout, feeds: { h }, fetch: ['logits'] },
    ]);
    const logits = result!['logits']!.data as Float32Array;
    return states.map((_, row) => logits.subarray(row * vocabSize, (row + 1) * vocabSize));
  }

  async dispose(): Promise<void> {
    await this.device.free(this.#loop);
    await this.device.free(this.#readout);
  }

  async #runChunk(run: LoopRun, cache: KvCache): Promise<readonly number[]> {
    const { hiddenSize, headDim } = this.config;
    const tokens = run.entries.map(({ token }) => token);
    const { cos, sin } = ropeAngles(
      this.config,
      tokens.map(({ position }) => position),
    );
    const angleDims = [tokens.length, 1, headDim / 2];
    const [result] = await this.device.submit([
      {
        kind: 'run',
        program: this.#loop,
        feeds: {
          x: this.#stack(tokens.map(({ hidden }) => hidden!)),
          cos: { dtype: 'f32', dims: angleDims, data: cos },
          sin: { dtype: 'f32', dims: angleDims, data: sin },
          bias: attentionBias(run.entries, cache.capacity),
          ...cache.feeds(run.plane),
        },
        fetch: ['h', 'gateLogit'],
        scatter: cache.scatter(
          run.plane,
          tokens.map(({ slot }) => slot),
        ),
      },
    ]);
    const h = result!['h']!.data as Float32Array;
    tokens.forEach((token, row) => {
      token.hidden = h.slice(row * hiddenSize, (row + 1) * hiddenSize);
      token.depth++;
    });
    this.#numExecuted += tokens.length;
    return Array.from(result!['gateLogit']!.data, Number);
  }

  #stack(rows: readonly Float32Array[]): HostTensor {
    const { hiddenSize } = this.config;
    const data = new Float32Array(rows.length * hiddenSize);
    rows.forEach((row, index) => data.set(row, index * hiddenSize));
    return { dtype: 'f32', dims: [rows.length, hiddenSize], data };
  }
}

/** 0 where a query may read, a large negative elsewhere: `[N, S+N]`, cached slots then new rows. */
function attentionBias(entries: readonly BatchEntry[], capacity: number): HostTensor {
  const width = capacity + entries.length;
  const data = new Float32Array(entries.length * width).fill(HIDDEN_SCORE);
  entries.forEach(({ sequence, token }, row) => {
    const isNew = new Set<SequenceToken>();
    entries.forEach((other, column) => {
      if (other.sequence !== sequence) return;
      isNew.add(other.token);
      if (other.token.position <= token.position) data[row * width + capacity + column] = 0;
    });
    for (let position = 0; position < token.position; position++) {
      const earlier = sequence.tokens[position]!;
      if (!isNew.has(earlier)) data[row * width + earlier.slot] = 0;
    }
  });
  return { dtype: 'f32', dims: [entries.length, width], data };
}
