/**
 * How fast the processor reads memory: the roof of decoding, where every weight is read once a token.
 *
 * Each thread reads a buffer of its own from end to end with 128-bit loads, twice as large in total as
 * the caches of current server processors reach. The kernel is compiled from the text below.
 */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

const MEGABYTES_PER_THREAD = 512;
const PAGES_PER_MEGABYTE = 16;
const PASSES = 8;

/** Two streams, because one alone does not keep enough reads in flight; xor depends on every byte. */
const KERNEL = `
export function read(bytes: usize): i64 {
  const half = bytes / 2;
  let a = i64x2.splat(0), b = i64x2.splat(0), c = i64x2.splat(0), d = i64x2.splat(0);
  for (let at: usize = 0; at < half; at += 64) {
    a = v128.xor(a, v128.load(at));
    b = v128.xor(b, v128.load(at, 16));
    c = v128.xor(c, v128.load(at, 32));
    d = v128.xor(d, v128.load(at, 48));
    a = v128.xor(a, v128.load(at + half));
    b = v128.xor(b, v128.load(at + half, 16));
    c = v128.xor(c, v128.load(at + half, 32));
    d = v128.xor(d, v128.load(at + half, 48));
  }
  const all = v128.xor(v128.xor(a, b), v128.xor(c, d));
  return i64x2.extract_lane(all, 0) ^ i64x2.extract_lane(all, 1);
}`;

/** What a reading thread is started with. */
export interface ReaderData {
  readonly binary: Uint8Array<ArrayBuffer>;
  readonly bytes: number;
  readonly passes: number;
}

/** When a thread began and ended its passes, in milliseconds of the shared clock. */
export type ReaderTimes = readonly [start: number, end: number];

export interface MemoryReadTest extends AsyncDisposable {
  /** Reads all buffers a few times over; a fraction of a second. Threads sleep between calls. */
  gigabytesPerSecond(): Promise<number>;
}

/** The kernel's binary, its memory as large as a thread's buffer. */
async function compiled(): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await mkdtemp(join(tmpdir(), 'memory-read-'));
  try {
    const [source, binary] = [join(folder, 'read.ts'), join(folder, 'read.wasm')];
    await writeFile(source, KERNEL);
    const pages = MEGABYTES_PER_THREAD * PAGES_PER_MEGABYTE;
    const flags = ['-O3', '--runtime', 'stub', '--enable', 'simd', '--initialMemory', `${pages}`];
    const asc = join('node_modules', 'assemblyscript', 'bin', 'asc.js');
    execFileSync(process.execPath, [asc, source, '--outFile', binary, ...flags]);
    return Uint8Array.from(await readFile(binary));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Starts the threads and fills their buffers. */
export async function createMemoryReadTest(numThreads: number): Promise<MemoryReadTest> {
  const bytes = MEGABYTES_PER_THREAD * 2 ** 20;
  const workerData: ReaderData = { binary: await compiled(), bytes, passes: PASSES };
  const path = new URL('./memory-read-worker.js', import.meta.url);
  const workers = Array.from({ length: numThreads }, () => new Worker(path, { workerData }));
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  return {
    async gigabytesPerSecond() {
      const answers = workers.map((worker) => once(worker, 'message'));
      for (const worker of workers) worker.postMessage('read');
      const times = (await Promise.all(answers)).map(([answer]) => answer as ReaderTimes);
      const start = Math.min(...times.map(([first]) => first));
      const end = Math.max(...times.map(([, last]) => last));
      return (numThreads * bytes * PASSES) / (end - start) / 1e6;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
