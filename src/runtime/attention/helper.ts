/**
 * The second thread of attention: it sleeps until a job is announced, and helps with it.
 *
 * All that crosses the threads is shared memory: the layers' memories, in which threads draw items
 * of the open job, and two words that say which layer's job was announced last. A helper that wakes
 * late finds no items; nobody waits for it. Source: assembly/attend.ts.
 */
import { instantiateKernel } from './kernel.js';

/** What a helper thread is started with; every part can be sent to another thread. */
export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memories: readonly WebAssembly.Memory[];
  /** [announcements so far, layer of the last one or -1 to end] */
  readonly signal: Int32Array<SharedArrayBuffer>;
}

/** A thread of a helper. */
export interface HelperThread {
  /** Resolves when the thread, which was told to end, is gone. */
  ended(): Promise<void>;
}

/** Starts a thread that calls `serveAttention(start)`; it must not keep its process alive. */
export type SpawnHelper = (start: HelperStart) => HelperThread;

const SEQUENCE = 0;
const LAYER = 1;
const END = -1;

/** The caller's side of a helper. */
export class Helper {
  readonly #signal = new Int32Array(new SharedArrayBuffer(8));
  readonly #thread: HelperThread;

  constructor(
    spawn: SpawnHelper,
    module: WebAssembly.Module,
    memories: readonly WebAssembly.Memory[],
  ) {
    this.#thread = spawn({ module, memories, signal: this.#signal });
  }

  /** Wakes the helper for the open job of a layer. */
  announce(layer: number): void {
    Atomics.store(this.#signal, LAYER, layer);
    Atomics.add(this.#signal, SEQUENCE, 1);
    Atomics.notify(this.#signal, SEQUENCE, 1);
  }

  /** Ends the helper's thread and waits for that: what outlives its starter is not given back. */
  async end(): Promise<void> {
    this.announce(END);
    await this.#thread.ended();
  }
}

/** The helper's side: returns when it is told to end. Blocks its thread while it waits. */
export function serveAttention({ module, memories, signal }: HelperStart): void {
  const kernels = memories.map((memory) => instantiateKernel(module, memory));
  for (let seen = 0; ;) {
    Atomics.wait(signal, SEQUENCE, seen);
    seen = Atomics.load(signal, SEQUENCE);
    const layer = Atomics.load(signal, LAYER);
    if (layer === END) return;
    kernels[layer]?.work(1);
  }
}
