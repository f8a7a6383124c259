/** A thread of the memory test: reads its buffer when it is asked and says when it did. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ReaderData, ReaderTimes } from './memory-read.js';

const { binary, bytes, passes } = workerData as ReaderData;
const { instance } = await WebAssembly.instantiate(binary, { env: { abort() {} } });
const { memory, read } = instance.exports as {
  memory: WebAssembly.Memory;
  read(bytes: number): bigint;
};
// Untouched pages are all one page of zeros, which would stay in the cache.
const view = new Uint8Array(memory.buffer);
for (let at = 0; at < view.length; at += 4096) view[at] = at >> 12;

const now = () => performance.timeOrigin + performance.now();

parentPort!.on('message', () => {
  const start = now();
  for (let pass = 0; pass < passes; pass++) read(bytes);
  parentPort!.postMessage([start, now()] satisfies ReaderTimes);
});
parentPort!.postMessage('ready');
