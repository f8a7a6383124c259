/**
 * The compiled kernel and its instances: one for each layer's memory and thread.
 *
 * The module is small and compiled when it is first needed; V8 optimises it while it runs. What the
 * functions do stands in assembly/, and only `kv-memory.ts` and `helper.ts` call them.
 */
import { KERNEL_WASM } from './kernel-wasm.js';

/** What the module exports. Addresses are bytes in the layer's memory. */
export interface Kernel {
  configure(
    numHeads: number,
    numKvHeads: number,
    headDim: number,
    pageSize: number,
    elementBytes: number,
    maxRows: number,
    tableCapacity: number,
  ): void;
  rowLengths(): number;
  groupTable(): number;
  tables(): number;
  firstStaging(): number;
  secondStaging(): number;
  pagesStart(): number;
  writeRows(count: number): void;
  copyRows(count: number): void;
  readRows(head: number, start: number, end: number): void;
  publish(numGroups: number, headsPerItem: number): void;
  work(thread: number): void;
  finish(): void;
}

/** Words of a group in the group table, as `assembly/memory.ts` has it. */
export const GROUP_WORDS = 3;

let compiled: WebAssembly.Module | undefined;

/** The module, compiled once in a thread. */
export function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(
    Uint8Array.from(atob(KERNEL_WASM), (char) => char.charCodeAt(0)),
  );
  return compiled;
}

/** The kernel over one memory. */
export function instantiateKernel(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports as unknown as Kernel;
}
