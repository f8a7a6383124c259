/**
 * Weights of a model in buffers of a device, which are exchanged as a whole between two steps.
 *
 * The new ones are brought to the device first; one submit then puts all of them in place, so that no
 * step ever sees some of each.
 */
import type { LoopLMConfig, ModelWeights } from '../../model/index.js';
import { checkWeights, parameterSpecs } from '../../model/index.js';
import type { Command, Device, DeviceBuffer, ResidentWeights } from '../../runtime/index.js';

export class UpdatableWeights implements ResidentWeights {
  readonly device: Device;
  readonly buffers: ReadonlyMap<string, DeviceBuffer>;
  readonly #config: LoopLMConfig;
  #version = 0;
  /** The update under way: the next one waits for it. */
  #updating: Promise<unknown> = Promise.resolve();

  private constructor(
    device: Device,
    config: LoopLMConfig,
    buffers: ReadonlyMap<string, DeviceBuffer>,
  ) {
    this.device = device;
    this.#config = config;
    this.buffers = buffers;
  }

  /** @throws CheckpointError if weights are missing, superfluous, misshaped or not finite */
  static async create(
    device: Device,
    config: LoopLMConfig,
    weights: ModelWeights,
  ): Promise<UpdatableWeights> {
    return new UpdatableWeights(device, config, await upload(device, config, weights));
  }

  get version(): number {
    return this.#version;
  }

  /**
   * Puts other weights in place of all of these.
   *
   * @returns the version that they are
   * @throws CheckpointError as `create`; then the weights are as before
   */
  update(weights: ModelWeights): Promise<number> {
    const update = this.#updating.then(() => this.#replace(weights));
    this.#updating = update.catch(() => {});
    return update;
  }

  /** Frees the buffers. */
  async dispose(): Promise<void> {
    await this.#updating;
    await free(this.device, this.buffers);
  }

  async #replace(weights: ModelWeights): Promise<number> {
    const fresh = await upload(this.device, this.#config, weights);
    const commands = [...this.buffers].map(([name, to]) => copy(fresh.get(name)!, to));
    const submitted = this.device.submit(commands);
    this.#version += 1;
    const version = this.#version;
    await submitted;
    await free(this.device, fresh);
    return version;
  }
}

async function upload(
  device: Device,
  config: LoopLMConfig,
  weights: ModelWeights,
): Promise<ReadonlyMap<string, DeviceBuffer>> {
  checkWeights(config, weights);
  const buffers = new Map<string, DeviceBuffer>();
  try {
    for (const { hfName, shape } of parameterSpecs(config)) {
      const data = weights.get(hfName)!.slice();
      buffers.set(hfName, await device.upload({ dtype: 'f32', dims: shape, data }));
    }
  } catch (error) {
    await free(device, buffers);
    throw error;
  }
  return buffers;
}

async function free(device: Device, buffers: ReadonlyMap<string, DeviceBuffer>): Promise<void> {
  for (const buffer of buffers.values()) await device.free(buffer);
}

function copy(from: DeviceBuffer, to: DeviceBuffer): Command {
  const rows = Array.from({ length: to.dims[0]! }, (_, row) => row);
  return { kind: 'copyRows', from, to, axis: 0, fromRows: rows, toRows: rows };
}
