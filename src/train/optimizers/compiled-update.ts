/** An optimizer's update on a device: its programs, and the commands that run them over buffers. */
import { buildGraph } from '../../graph/index.js';
import type { ParameterSpec } from '../../model/index.js';
import type { Command, Device, DeviceBuffer, Feed, Program } from '../../runtime/index.js';
import { scalarTensor } from '../batch-feeds.js';
import type { Optimizer, UpdateMoment } from './optimizer.js';
import type { ApplyProgram } from './update-program.js';
import { applyPrograms, clipOutputs } from './update-program.js';

/** Where something of a parameter is: `param`, `total`, the sum of its gradients, or a slot. */
export type BufferOf = (kind: string, hfName: string) => DeviceBuffer;

interface CompiledApply extends Omit<ApplyProgram, 'outputs'> {
  readonly program: Program;
}

export class CompiledUpdate {
  readonly #trained: readonly ParameterSpec[];
  readonly #optimizer: Optimizer;
  readonly #clip: Program;
  readonly #apply: readonly CompiledApply[];

  private constructor(
    trained: readonly ParameterSpec[],
    optimizer: Optimizer,
    clip: Program,
    apply: readonly CompiledApply[],
  ) {
    this.#trained = trained;
    this.#optimizer = optimizer;
    this.#clip = clip;
    this.#apply = apply;
  }

  static async compile(
    device: Device,
    trained: readonly ParameterSpec[],
    optimizer: Optimizer,
  ): Promise<CompiledUpdate> {
    // What these keep would be as large as all they update, and they gain nothing by it.
    const options = { keepsWorkspace: false };
    const apply: CompiledApply[] = [];
    for (const { outputs, ...of } of applyPrograms(trained, optimizer)) {
      apply.push({ ...of, program: await device.compile(buildGraph(outputs), options) });
    }
    const clip = await device.compile(buildGraph(clipOutputs(trained, optimizer)), options);
    return new CompiledUpdate(trained, optimizer, clip, apply);
  }

  /** The norm of all gradients, fetched as `gradNorm`, then what they change, in place. */
  commands(moment: UpdateMoment, bufferOf: BufferOf): readonly Command[] {
    const looking: Command = {
      kind: 'run',
      program: this.#clip,
      feeds: Object.fromEntries(
        this.#trained.map(({ hfName }) => [`grad:${hfName}`, bufferOf('total', hfName)]),
      ),
      fetch: ['gradNorm'],
      keep: { clipFactor: 'clipFactor' },
    };
    const scalars = Object.entries(this.#optimizer.scalars(moment));
    const applying = this.#apply.flatMap((apply) => this.#applying(apply, scalars, bufferOf));
    return [looking, ...applying];
  }

  async free(device: Device): Promise<void> {
    for (const { program } of this.#apply) await device.free(program);
    await device.free(this.#clip);
  }

  #applying(
    { specs, isElementwise, program }: CompiledApply,
    scalars: readonly (readonly [string, number])[],
    bufferOf: BufferOf,
  ): readonly Command[] {
    const feeds: Record<string, Feed> = { clipFactor: { kept: 'clipFactor' } };
    // An optimizer need not use all its scalars for every parameter.
    for (const [name, value] of scalars) {
      if (program.inputNames.includes(name)) feeds[name] = scalarTensor(value);
    }
    const kinds = ['param', ...this.#optimizer.slots(specs[0]!).map(({ name }) => name)];
    const named = <T>(valueOf: (kind: string) => T) => ({
      read: Object.fromEntries(kinds.map((kind) => [kind, valueOf(kind)])),
      store: Object.fromEntries(kinds.map((kind) => [`next:${kind}`, valueOf(kind)])),
    });
    if (isElementwise) {
      const line = (kind: string) => specs.map(({ hfName }) => bufferOf(kind, hfName));
      const { read, store } = named(line);
      return [
        { kind: 'runElementwise', program, feeds, lines: { ...read, grad: line('total') }, store },
      ];
    }
    return specs.map(({ hfName }) => {
      const { read, store } = named((kind) => bufferOf(kind, hfName));
      const grad = bufferOf('total', hfName);
      return { kind: 'run', program, feeds: { ...feeds, ...read, grad }, store };
    });
  }
}
