/** Weights in buffers of a device, and devices that count what they are asked to do. */
import type { LoopLMConfig, ModelWeights } from '../../src/model/index.js';
import { parameterSpecs } from '../../src/model/index.js';
import type { Device, DeviceBuffer, ResidentWeights } from '../../src/runtime/index.js';

/** The weights of a model in buffers that nobody changes. They go with the device. */
export async function uploadWeights(
  device: Device,
  config: LoopLMConfig,
  weights: ModelWeights,
): Promise<ResidentWeights> {
  const buffers = new Map<string, DeviceBuffer>();
  for (const { hfName, shape } of parameterSpecs(config)) {
    const data = weights.get(hfName)!;
    buffers.set(hfName, await device.upload({ dtype: 'f32', dims: shape, data }));
  }
  return { device, buffers, version: 0 };
}

export interface CountingDevice extends Device {
  /** Calls so far. */
  readonly counts: { compile: number; upload: number; allocate: number };
  /** Names of arrays that programs were fed from outside. */
  readonly fed: Set<string>;
  /** Called right before and right after commands are passed on, but those that it submits. */
  onSubmit?: ((when: 'before' | 'after') => void) | undefined;
}

/** A device that passes everything on. */
export function countingDevice(device: Device): CountingDevice {
  const counts = { compile: 0, upload: 0, allocate: 0 };
  const fed = new Set<string>();
  const counting: CountingDevice = {
    counts,
    fed,
    supports: device.supports,
    compile(...args) {
      counts.compile++;
      return device.compile(...args);
    },
    allocate(...args) {
      counts.allocate++;
      return device.allocate(...args);
    },
    upload(...args) {
      counts.upload++;
      return device.upload(...args);
    },
    submit(commands) {
      for (const command of commands) {
        if (command.kind !== 'run') continue;
        for (const [name, feed] of Object.entries(command.feeds)) if ('data' in feed) fed.add(name);
      }
      const { onSubmit } = counting;
      counting.onSubmit = undefined;
      onSubmit?.('before');
      const results = device.submit(commands);
      onSubmit?.('after');
      counting.onSubmit = onSubmit;
      return results;
    },
    download: (buffer) => device.download(buffer),
    createKvStore: (spec) => device.createKvStore(spec),
    free: (target) => device.free(target),
    stats: () => device.stats(),
    dispose: () => device.dispose(),
    [Symbol.asyncDispose]: () => device.dispose(),
  };
  return counting;
}
