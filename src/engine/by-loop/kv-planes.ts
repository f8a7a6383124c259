/**
 * Cached keys and values of a batch of sequences.
 *
 * A *plane* holds the keys and values of every layer at one depth. A *slot* is a row of all planes;
 * a token gets one slot when it enters the cache. All sequences of the batch share the planes, so
 * one program run serves tokens of any of them. What a slot of a plane means is the KV policy's
 * business (engine/kv-policy.ts); this file only keeps memory and says what commands change it.
 */
import type { LoopLMConfig } from '../../model/index.js';
import type { Command, Device, DeviceBuffer } from '../../runtime/index.js';
import { layerNames } from './loop-graph.js';

/** Slots grow by this factor, at least by `MIN_SLOTS`, so that growing costs little per token. */
const GROWTH = 1.5;
const MIN_SLOTS = 64;
const SLOT_AXIS = 1; // buffers are [K, slots, Dh]

/** Buffers of one layer of one plane. */
interface LayerCache {
  readonly keys: DeviceBuffer;
  readonly values: DeviceBuffer;
}

export class KvPlanes {
  readonly #device: Device;
  readonly #config: LoopLMConfig;
  #planes: (readonly LayerCache[])[] = [];
  #capacity = 0;
  #numSlots = 0;

  constructor(device: Device, config: LoopLMConfig) {
    this.#device = device;
    this.#config = config;
  }

  /** Rows of every buffer, used or not. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Makes room for `count` more tokens and returns the first of their consecutive slots. */
  async reserve(count: number, numPlanes: number): Promise<number> {
    const first = this.#numSlots;
    this.#numSlots += count;
    if (this.#numSlots > this.#capacity) {
      const wanted = Math.max(this.#numSlots, MIN_SLOTS, Math.ceil(this.#capacity * GROWTH));
      await this.#resize(wanted);
    }
    while (this.#planes.length < numPlanes) this.#planes.push(await this.#newPlane(this.#capacity));
    return first;
  }

  /** Feeds of a loop program that reads a plane. */
  feeds(plane: number): Readonly<Record<string, DeviceBuffer>> {
    return Object.fromEntries(
      this.#planes[plane]!.flatMap(({ keys, values }, layerIndex) => {
        const names = layerNames(layerIndex);
        return [
          [names.cachedKeys, keys],
          [names.cachedValues, values],
        ];
      }),
    );
  }

  /** The part of a run command that writes the new rows of a loop program into slots of a plane. */
  scatter(
    plane: number,
    slots: readonly number[],
  ): NonNullable<Extract<Command, { kind: 'run' }>['scatter']> {
    return Object.fromEntries(
      this.#planes[plane]!.flatMap(({ keys, values }, layerIndex) => {
        const names = layerNames(layerIndex);
        return [
          [names.newKeys, { to: keys, axis: SLOT_AXIS, rows: slots }],
          [names.newValues, { to: values, axis: SLOT_AXIS, rows: slots }],
        ];
      }),
    );
  }

  /** Commands that copy slots of one plane into the same slots of another. */
  copyCommands(from: number, to: number, slots: readonly number[]): readonly Command[] {
    return this.#planes[from]!.flatMap((source, layerIndex) => {
      const target = this.#planes[to]![layerIndex]!;
      return (['keys', 'values'] as const).map((part): Command => ({
        kind: 'copyRows',
        from: source[part],
        to: target[part],
        axis: SLOT_AXIS,
        fromRows: slots,
        toRows: slots,
      }));
    });
  }

  /** Drops all planes but one, which becomes plane 0. */
  async keepOnly(plane: number): Promise<void> {
    const kept = this.#planes[plane]!;
    const dropped = this.#planes.filter((layers) => layers !== kept);
    this.#planes = [kept];
    for (const layers of dropped) await this.#free(layers);
  }

  async dispose(): Promise<void> {
    const planes = this.#planes;
    this.#planes = [];
    for (const layers of planes) await this.#free(layers);
  }

  async #resize(capacity: number): Promise<void> {
    const used = Array.from({ length: this.#capacity }, (_, slot) => slot);
    const grown: (readonly LayerCache[])[] = [];
    for (const layers of this.#planes) {
      const larger = await this.#newPlane(capacity);
      const commands = layers.flatMap((layer, layerIndex) =>
        (['keys', 'values'] as const).map((part): Command => ({
          kind: 'copyRows',
          from: layer[part],
          to: larger[layerIndex]![part],
          axis: SLOT_AXIS,
          fromRows: used,
          toRows: used,
        })),
      );
      await this.#device.submit(commands);
      await this.#free(layers);
      grown.push(larger);
    }
    this.#planes = grown;
    this.#capacity = capacity;
  }

  async #newPlane(capacity: number): Promise<readonly LayerCache[]> {
    const { numHiddenLayers, numKeyValueHeads, headDim } = this.#config;
    const dims = [numKeyValueHeads, capacity, headDim];
    const layers: LayerCache[] = [];
    for (let layerIndex = 0; layerIndex < numHiddenLayers; layerIndex++) {
      layers.push({
        keys: await this.#device.allocate('f32', dims),
        values: await this.#device.allocate('f32', dims),
      });
    }
    return layers;
  }

  async #free(layers: readonly LayerCache[]): Promise<void> {
    for (const { keys, values } of layers) {
      await this.#device.free(keys);
      await this.#device.free(values);
    }
  }
}
