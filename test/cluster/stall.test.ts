/** Objects of which a server sends too little or too much. */
import { expect, it } from 'vitest';
import { StalledError } from '../../src/platform/node/nats/faults.js';
import { readWhole } from '../../src/platform/node/nats/stall.js';

const STALL_MS = 50;

/** A stream that sends some pieces, and ends or falls silent; tells whether it was cancelled. */
function streamOf(pieces: readonly (readonly number[])[], ends: boolean) {
  const told = { isCancelled: false };
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of pieces) controller.enqueue(Uint8Array.from(piece));
      if (ends) controller.close();
    },
    cancel: () => void (told.isCancelled = true),
  });
  return { stream, told };
}

it('an object comes whole, in whatever pieces', async () => {
  const { stream, told } = streamOf([[1, 2], [3], []], true);
  expect(await readWhole('it', stream, 3, STALL_MS)).toEqual(Uint8Array.of(1, 2, 3));
  expect(told.isCancelled).toBe(false);
});

it.each([
  ['nothing more comes', []],
  ['nothing more comes', [[1, 2]]],
  [
    'it is too long',
    [
      [1, 2],
      [3, 4],
    ],
  ],
])('%s: the stream is let go of', async (message, pieces) => {
  const { stream, told } = streamOf(pieces, false);
  const reading = readWhole('it', stream, 3, STALL_MS);
  await expect(reading).rejects.toThrow(StalledError);
  await expect(reading).rejects.toThrow(message);
  expect(told.isCancelled).toBe(true);
});
