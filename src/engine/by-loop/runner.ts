/**
 * The by-loop partition: a whole loop is one program.
 *
 * Few large programs suit devices where a launch is dear. The keys and values of all sequences of a
 * run share the slots of one cache, so attention costs the square of the batch: long batches belong
 * to the by-layer partition.
 */
import type { GraphWeights, LoopLMConfig } from '../../model/index.js';
import { ropeFeeds } from '../../model/index.js';
import type { Command, Device, HostTensor, Program } from '../../runtime/index.js';
import type { CompileWatch } from '../compile.js';
import { compileAll } from '../compile.js';
import { endGraphs, fetchedOf, ModelEnds, NUM_ENDS } from '../ends.js';
import type { BatchEntry, CachedRun, LoopRun, Readout, Runner } from '../runner.js';
import { inPieces } from '../runner.js';
import type { Sequence } from '../sequence.js';
import { KvPlanes } from './kv-planes.js';
import { loopGraph } from './loop-graph.js';

/** Far below any score; a query always sees at least itself. */
const HIDDEN_SCORE = -1e9;

export class LoopRunner implements Runner {
  readonly partition = 'by-loop';
  readonly config: LoopLMConfig;
  readonly device: Device;
  readonly ends: ModelEnds;
  readonly #loop: Program;
  numExecuted = 0;

  private constructor(device: Device, config: LoopLMConfig, ends: ModelEnds, loop: Program) {
    this.device = device;
    this.config = config;
    this.ends = ends;
    this.#loop = loop;
  }

  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: GraphWeights,
    watch: CompileWatch = {},
  ): Promise<LoopRunner> {
    const graphs = [...endGraphs(config, weights), { graph: loopGraph(config, weights) }];
    const programs = await compileAll(device, graphs, weights, watch);
    // Its masks have one row for each entry, so batches are not padded.
    const ends = new ModelEnds(device, config, { rowMultiple: 1 }, programs);
    return new LoopRunner(device, config, ends, programs[NUM_ENDS]!);
  }

  openRun(numPlanes: number): CachedRun {
    return new PlanesRun(this, numPlanes);
  }

  /** The command that runs one loop of `entries` on the kept `x`. */
  loopCommand(feeds: (Command & { kind: 'run' })['feeds']): Command & { kind: 'run' } {
    return {
      kind: 'run',
      program: this.#loop,
      feeds: { x: { kept: 'x' }, ...feeds },
      fetch: fetchedOf(this.#loop),
    };
  }

  readout(states: readonly Float32Array[]): Promise<readonly Readout[]> {
    return this.ends.readout(states);
  }

  async dispose(): Promise<void> {
    await this.device.free(this.#loop);
    await this.ends.dispose();
  }
}

class PlanesRun implements CachedRun {
  readonly #runner: LoopRunner;
  readonly #planes: KvPlanes;
  #numPlanes: number;
  /** Slots of the tokens of each sequence, by position. */
  readonly #slots = new Map<Sequence, number[]>();

  constructor(runner: LoopRunner, numPlanes: number) {
    this.#runner = runner;
    this.#planes = new KvPlanes(runner.device, runner.config);
    this.#numPlanes = numPlanes;
  }

  async reserve(sequence: Sequence): Promise<void> {
    const slots = this.#slots.get(sequence) ?? [];
    this.#slots.set(sequence, slots);
    const count = sequence.tokens.length - slots.length;
    const first = await this.#planes.reserve(count, this.#numPlanes);
    for (let index = 0; index < count; index++) slots.push(first + index);
  }

  runLoop(run: LoopRun): Promise<readonly number[]> {
    return inPieces(run, (piece) => this.#runPiece(piece));
  }

  copyCommands(
    { sequence, token }: BatchEntry,
    from: number,
    to: readonly number[],
  ): readonly Command[] {
    const slot = this.#slots.get(sequence)![token.position]!;
    return to.flatMap((plane) => this.#planes.copyCommands(from, plane, [slot]));
  }

  async keepOnly(plane: number): Promise<void> {
    this.#numPlanes = 1;
    await this.#planes.keepOnly(plane);
  }

  /** Slots are given back with the whole run: other sequences share its buffers. */
  release(): void {}

  dispose(): Promise<void> {
    return this.#planes.dispose();
  }

  async #runPiece({ entries, plane }: LoopRun): Promise<readonly number[]> {
    const { config, device, ends } = this.#runner;
    const positions = entries.map(({ token }) => token.position);
    const slots = entries.map(({ sequence, token }) => this.#slots.get(sequence)![token.position]!);
    const loop = this.#runner.loopCommand({
      ...ropeFeeds(config, positions),
      bias: this.#attentionBias(entries),
      ...this.#planes.feeds(plane),
    });
    const results = await device.submit([
      ends.inputCommand(entries),
      { ...loop, scatter: this.#planes.scatter(plane, slots) },
    ]);
    this.#runner.numExecuted += entries.length;
    return ends.advance(entries, results.at(-1)!);
  }

  /** 0 where a query may read, a large negative elsewhere: `[N, S+N]`, cached slots then new rows. */
  #attentionBias(entries: readonly BatchEntry[]): HostTensor {
    const { capacity } = this.#planes;
    const width = capacity + entries.length;
    const data = new Float32Array(entries.length * width).fill(HIDDEN_SCORE);
    entries.forEach(({ sequence, token }, row) => {
      const slots = this.#slots.get(sequence)!;
      const isNew = new Set<number>();
      entries.forEach((other, column) => {
        if (other.sequence !== sequence) return;
        isNew.add(other.token.position);
        if (other.token.position <= token.position) data[row * width + capacity + column] = 0;
      });
      for (let position = 0; position < token.position; position++) {
        if (!isNew.has(position)) data[row * width + slots[position]!] = 0;
      }
    });
    return { dtype: 'f32', dims: [entries.length, width], data };
  }
}
