/**
 * A device that counts steps and notes how long readouts take: the head's product, of which a token has one at every
 * depth, whether it comes with the token's last loop or after it.
 */
import type { Graph } from 'looplm/graph';
import type { Command, CommandResult, CompileOptions, Device } from 'looplm/runtime';

export class ReadoutClock implements Device {
  readonly supports: Device['supports'];
  readonly #device: Device;
  /** Milliseconds of all readouts so far. */
  readoutMs = 0;
  /** Steps so far: submits in which tokens attend. */
  numSteps = 0;
  /** When the newest submit ended. */
  endedAt = 0;

  constructor(device: Device) {
    this.#device = device;
    this.supports = device.supports;
  }

  /** A readout that comes with a loop is submitted after it, to be timed alone. */
  async submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    if (commands.some(({ kind }) => kind === 'attend')) this.numSteps++;
    const isReadout = commands.some(fetchesLogits);
    const start = isReadout ? commands.findLastIndex(({ kind }) => kind === 'gather') : Infinity;
    const loops = commands.slice(0, start);
    const readout = commands.slice(start);
    const loopResults = loops.length > 0 ? await this.#device.submit(loops) : [];
    const startedAt = performance.now();
    const readoutResults = readout.length > 0 ? await this.#device.submit(readout) : [];
    this.endedAt = performance.now();
    if (isReadout) this.readoutMs += this.endedAt - startedAt;
    return [...loopResults, ...readoutResults];
  }

  compile(graph: Graph, options?: CompileOptions) {
    return this.#device.compile(graph, options);
  }

  allocate(...args: Parameters<Device['allocate']>) {
    return this.#device.allocate(...args);
  }

  upload(...args: Parameters<Device['upload']>) {
    return this.#device.upload(...args);
  }

  download(...args: Parameters<Device['download']>) {
    return this.#device.download(...args);
  }

  createKvStore(...args: Parameters<Device['createKvStore']>) {
    return this.#device.createKvStore(...args);
  }

  free(...args: Parameters<Device['free']>) {
    return this.#device.free(...args);
  }

  stats() {
    return this.#device.stats();
  }

  dispose() {
    return this.#device.dispose();
  }

  [Symbol.asyncDispose]() {
    return this.#device.dispose();
  }
}

function fetchesLogits(command: Command): boolean {
  return command.kind === 'run' && (command.fetch?.includes('logits') ?? false);
}
