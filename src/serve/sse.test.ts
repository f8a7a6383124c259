import { expect, test } from 'vitest';
import { sseEvent, textStream } from './sse.js';

const PATIENT = 10_000;

async function* texts(count: number, onText: () => void = () => {}) {
  for (let n = 0; n < count; n++) {
    onText();
    yield `${n};`;
  }
}

test('all texts come in order and the stream ends', async () => {
  const stream = textStream(texts(5), PATIENT, () => {});
  expect(await new Response(stream).text()).toBe('0;1;2;3;4;');
});

test('nothing is made that was not asked for, but for one text ahead', async () => {
  let numMade = 0;
  const stream = textStream(
    texts(100, () => numMade++),
    PATIENT,
    () => {},
  );
  const reader = stream.getReader();
  for (let numRead = 1; numRead <= 10; numRead++) {
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(numMade).toBeLessThanOrEqual(numRead + 1);
  }
  await reader.cancel();
});

test('a reader that leaves ends the texts', async () => {
  let hasEnded = false;
  async function* endless() {
    try {
      for (;;) yield 'x';
    } finally {
      hasEnded = true;
    }
  }
  const reasons: Error[] = [];
  const reader = textStream(endless(), PATIENT, (reason) => reasons.push(reason)).getReader();
  await reader.read();
  await reader.cancel();
  await new Promise((resolve) => setTimeout(resolve, 0));
  expect([hasEnded, reasons.length]).toEqual([true, 1]);
});

test('silence is broken by comments', async () => {
  let go = () => {};
  const opened = new Promise<void>((resolve) => (go = resolve));
  async function* late() {
    await opened;
    yield sseEvent({ a: 1 }, 'name');
  }
  const stream = textStream(late(), 5, () => {});
  const reader = stream.getReader();
  const read = async () => new TextDecoder().decode((await reader.read()).value);
  expect([await read(), await read()]).toEqual([': keep-alive\n\n', ': keep-alive\n\n']);
  go();
  let text = '';
  while (text === '' || text.startsWith(':')) text = await read();
  expect(text).toBe('event: name\ndata: {"a":1}\n\n');
});
