/**
 * Compiles the programs of a model, one after the other.
 *
 * A program takes up to seconds and cannot be stopped natively, so it is between two of them that
 * loading says how far it is and hears its signal.
 */
import type { Graph } from '../../graph/index.js';
import { ELEMENT_BYTES } from '../../graph/index.js';
import type { CompileOptions, Device, Program } from '../../runtime/index.js';
import type { EngineWeights } from './engine-weights.js';
import { weightOptions } from './engine-weights.js';

/** How to follow the compilation of a model. */
export interface CompileWatch {
  /** Called after each program with the bytes of the weights in the programs so far, and in all. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  /** Ends it before the next program, with its reason. */
  readonly signal?: AbortSignal | undefined;
}

type ProgramOptions = Pick<CompileOptions, 'keepsWorkspace' | 'isParallel'>;

export type GraphToCompile = ProgramOptions & { readonly graph: Graph };

/** The programs of all graphs, in their order. If it fails or is aborted, none of them is left. */
export async function compileAll(
  device: Device,
  graphs: readonly GraphToCompile[],
  weights: EngineWeights,
  { onProgress, signal }: CompileWatch,
): Promise<readonly Program[]> {
  const totalBytes = graphs.reduce((sum, { graph }) => sum + weightBytes(graph), 0);
  let doneBytes = 0;
  const programs: Program[] = [];
  return orFree(device, programs, async () => {
    for (const { graph, ...options } of graphs) {
      signal?.throwIfAborted();
      programs.push(await compileWith(device, graph, weights, options));
      doneBytes += weightBytes(graph);
      onProgress?.(doneBytes, totalBytes);
    }
    signal?.throwIfAborted();
    return programs;
  });
}

/** Compiles a graph of these weights. */
export function compileWith(
  device: Device,
  graph: Graph,
  weights: EngineWeights,
  options: ProgramOptions = {},
): Promise<Program> {
  return device.compile(graph, { ...options, ...weightOptions(graph, weights) });
}

/** What `work` gives; should it fail, the programs are freed. */
export async function orFree<T>(
  device: Device,
  programs: readonly Program[],
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // of a device that was disposed meanwhile nothing is left to free
    for (const program of programs) await device.free(program).catch(() => {});
    throw error;
  }
}

function weightBytes({ parameters }: Graph): number {
  const bytesOf = ({ shape, dtype }: Graph['parameters'][number]) =>
    shape.reduce<number>((product, dim) => product * Number(dim), ELEMENT_BYTES[dtype]);
  return parameters.reduce((sum, parameter) => sum + bytesOf(parameter), 0);
}
