/**
 * A device that notes how long readouts take: the head's product, of which a token has one at every
 * depth.
 */
import type { Graph } from 'looplm/graph';
import type { Command, CommandResult, CompileOptions, Device } from 'looplm/runtime';

export class ReadoutClock implements Device {
  readonly supports: Device['supports'];
  readonly #device: Device;
  /** Milliseconds of all readouts so far. */
  readoutMs = 0;
  /** When the newest submit ended. */
  endedAt = 0;

  constructor(device: Device) {
    this.#device = device;
    this.supports = device.supports;
  }

  async submit(commands: readonly Command[]): Promise<readonly CommandResult[]> {
    const start = performance.now();
    const results = await this.#device.submit(commands);
    this.endedAt = performance.now();
    const isReadout = results.some((result) => 'logits' in result);
    if (isReadout) this.readoutMs += this.endedAt - start;
    return results;
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
