import { expect, test } from 'vitest';
import { merge } from './merge.js';

async function* count(to: number, ms: number, onEnd: () => void = () => {}) {
  try {
    for (let n = 0; n < to; n++) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      yield n;
    }
  } finally {
    onEnd();
  }
}

test('every item of every source comes once, each source in its order', async () => {
  const seen: number[][] = [[], [], []];
  for await (const { index, value } of merge([count(3, 1), count(5, 2), count(0, 1)])) {
    seen[index]!.push(value);
  }
  expect(seen).toEqual([[0, 1, 2], [0, 1, 2, 3, 4], []]);
});

test('leaving early leaves all sources', async () => {
  let numEnded = 0;
  const sources = [count(9, 1, () => numEnded++), count(9, 1, () => numEnded++)];
  for await (const _ of merge(sources)) break;
  expect(numEnded).toBe(2);
});

test('what one source throws is thrown, and the others are left', async () => {
  let numEnded = 0;
  async function* failing(): AsyncGenerator<number> {
    yield 1;
    throw new Error('broken');
  }
  const run = async () => {
    for await (const _ of merge([failing(), count(99, 1, () => numEnded++)])) {
      // read on
    }
  };
  await expect(run()).rejects.toThrow('broken');
  expect(numEnded).toBe(1);
});

test('a source that waits for ever costs nothing while others go on', async () => {
  let go = () => {};
  const opened = new Promise<void>((resolve) => (go = resolve));
  async function* waiting() {
    await opened;
    yield -1;
  }
  async function* quick() {
    for (let n = 0; n < 1000; n++) yield n;
  }
  let numSeen = 0;
  for await (const { index } of merge<number>([quick(), waiting()])) {
    if (index === 0 && ++numSeen === 1000) go();
  }
  expect(numSeen).toBe(1000);
});
