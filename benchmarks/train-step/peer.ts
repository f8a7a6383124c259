/** A measured process: built once, asked line by line, asleep meanwhile. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import type { Product, Ready, Request, Setup, Steps } from './protocol.js';

/**
 * How the C library gives memory to both sides. By default glibc returns every large block to the
 * system, and the next step pays for fresh pages; kept, it does not.
 */
export const ALLOCATORS = {
  default: {},
  'blocks kept': {
    GLIBC_TUNABLES: 'glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=68719476736',
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, string>>>>;

export type Allocator = keyof typeof ALLOCATORS;

export class Peer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #name: string;

  private constructor(name: string, command: readonly string[], allocator: Allocator) {
    const [program, ...args] = command;
    const env = { ...process.env, ...ALLOCATORS[allocator] };
    this.#name = name;
    this.#process = spawn(program!, args, { env });
    this.#process.stderr.pipe(process.stderr);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Starts a process and builds the model in it. */
  static async start(
    name: string,
    command: readonly string[],
    allocator: Allocator,
    setup: Setup,
  ): Promise<{ readonly peer: Peer; readonly ready: Ready }> {
    const peer = new Peer(name, command, allocator);
    return { peer, ready: await peer.#ask<Ready>(setup) };
  }

  train(request: Extract<Request, { trainSteps: number }>): Promise<Steps> {
    return this.#ask<Steps>(request);
  }

  async productGflops(size: number): Promise<number> {
    return (await this.#ask<Product>({ product: size })).gflops;
  }

  quit(): void {
    this.#process.stdin.end('{"quit": true}\n');
  }

  async #ask<Answer>(message: Setup | Request): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
    const next = await this.#lines.next();
    if (next.done) throw new Error(`The process of ${this.#name} ended; see its message above.`);
    return JSON.parse(next.value) as Answer;
  }
}

export const LOOPLM_COMMAND = [
  process.execPath,
  fileURLToPath(new URL('./looplm-step.js', import.meta.url)),
];

export const torchCommand = (python: string) => [
  python,
  resolve('benchmarks', 'train-step', 'torch_step.py'),
];
