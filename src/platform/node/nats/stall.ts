/** Reading what a server may stop to send without a word. */
import { setTimeout as wait } from 'node:timers/promises';
import { StalledError } from './faults.js';

/** What nothing more comes of for so long is asked for again. */
const STALL_MS = 20_000;

/** @throws StalledError if nothing has come after some time */
export async function orStalled<T>(reading: Promise<T>, stallMs = STALL_MS): Promise<T> {
  const timer = new AbortController();
  const stall = wait(stallMs, undefined, { signal: timer.signal, ref: false }).then(() => {
    throw new StalledError('nothing more comes');
  });
  try {
    return await Promise.race([reading, stall]);
  } finally {
    stall.catch(() => {});
    timer.abort();
  }
}

/**
 * All bytes of a stream, of which it is known how many there are.
 *
 * @throws StalledError if nothing more comes for some time, or there are more
 */
export async function readWhole(
  name: string,
  stream: ReadableStream<Uint8Array>,
  size: number,
  stallMs = STALL_MS,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  const reader = stream.getReader();
  try {
    let offset = 0;
    for (;;) {
      const { done, value } = await orStalled(reader.read(), stallMs);
      if (done) return bytes;
      if (offset + value.length > size) throw new StalledError(`${name} is too long`);
      bytes.set(value, offset);
      offset += value.length;
    }
  } catch (error) {
    // Else the server goes on sending it, beside what is asked for next.
    reader.cancel(error).catch(() => {});
    throw error;
  }
}
