import { expect, test } from 'vitest';
import {
  CapacityError,
  CheckpointError,
  ConfigError,
  DisposedError,
  FileError,
  LoopLMError,
  RequestError,
  ShapeError,
  UnsupportedError,
} from '../errors.js';
import type { WorkerLink } from './remote.js';
import { RemoteBackend } from './remote.js';
import { packError, unpackError } from './remote-errors.js';

test.each([
  new ConfigError('numThreads', 'bad number'),
  new ShapeError('bad shape'),
  new CheckpointError('bad file'),
  new CapacityError('too large'),
  new UnsupportedError('not here'),
  new DisposedError('a device'),
  new RequestError('bad prompt'),
  new FileError('/a/b', 'no such file'),
])('$name crosses a thread with its class, fields and message', (error) => {
  const copy = unpackError(structuredClone(packError(error)));
  expect(copy).toBeInstanceOf(error.constructor);
  expect(copy).toBeInstanceOf(LoopLMError);
  expect(copy.message).toBe(error.message);
  expect(copy.stack).toBe(error.stack);
  expect(Object.entries(copy)).toEqual(Object.entries(error));
});

test('other errors and thrown values arrive as errors with the same message', () => {
  const copy = unpackError(structuredClone(packError(new TypeError('a bug'))));
  expect(copy).toMatchObject({ message: 'a bug' });
  expect(copy).not.toBeInstanceOf(LoopLMError);
  expect(unpackError(packError('text'))).toMatchObject({ message: 'text' });
});

/** A worker that answers nothing until told to. */
function silentLink() {
  const sent: { id: number; method: string }[] = [];
  const busy: boolean[] = [];
  let receive: (message: unknown) => void;
  let stop: (reason: Error) => void;
  let closed = false;
  const link: WorkerLink = {
    send: (message) => void sent.push(message as (typeof sent)[number]),
    onMessage: (handler) => (receive = handler),
    onStop: (handler) => (stop = handler),
    setBusy: (isBusy) => void busy.push(isBusy),
    close: async () => void (closed = true),
  };
  return {
    link,
    sent,
    busy,
    answer: (index: number, value: unknown) => receive({ id: sent[index]!.id, value }),
    stop: (reason: Error) => stop(reason),
    isClosed: () => closed,
  };
}

test('a worker that stops rejects every waiting and every later call with the reason', async () => {
  const worker = silentLink();
  const backend = new RemoteBackend(worker.link);
  const waiting = [backend.stats(), backend.allocate('f32', [1])];
  worker.stop(new Error('out of memory'));
  worker.stop(new Error('exited with code 1'));
  for (const call of [...waiting, backend.stats()]) {
    await expect(call).rejects.toThrow('out of memory');
  }
  await backend.dispose();
  expect(worker.sent.map(({ method }) => method)).toEqual(['stats', 'allocate']);
  expect(worker.isClosed()).toBe(true);
});

test('a worker is busy exactly while calls wait, and answers find their calls', async () => {
  const worker = silentLink();
  const backend = new RemoteBackend(worker.link);
  const [first, second] = [backend.allocate('f32', [1]), backend.allocate('f32', [2])];
  worker.answer(1, 'second');
  worker.answer(0, 'first');
  expect(await Promise.all([first, second])).toEqual(['first', 'second']);
  expect(worker.busy).toEqual([true, true, true, false]);
});

test('a message that cannot be sent rejects its call and leaves the worker idle', async () => {
  const worker = silentLink();
  const link: WorkerLink = {
    ...worker.link,
    send: () => {
      throw new Error('cannot be cloned');
    },
  };
  await expect(new RemoteBackend(link).stats()).rejects.toThrow('cannot be cloned');
  expect(worker.busy).toEqual([]);
});
