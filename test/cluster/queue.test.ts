/** Queues of work promise the same in memory and over NATS. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SharedStore, WorkQueue } from '../../src/cluster/index.js';
import { memoryStore } from '../../src/cluster/index.js';
import { connectRun } from '../../src/platform/node/index.js';
import { missingPrograms } from '../programs.js';
import { NatsServer } from './nats-server.js';

/** Seconds: none of these tests waits for it. */
const SILENCE = 60;
const missing = missingPrograms(['nats-server']);
const folder = mkdtempSync(join(tmpdir(), 'looplm-queue-'));
let server: NatsServer | undefined;
beforeAll(async () => {
  if (missing.length === 0) server = await NatsServer.start({ folder });
});
afterAll(async () => {
  await server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

const STORES: Readonly<Record<string, () => Promise<SharedStore>>> = {
  memory: async () => memoryStore(),
  NATS: () => connectRun(server!.run('queues'), { env: {}, onNote: () => {} }),
};

const takeAll = async (queue: WorkQueue, count: number) => {
  const jobs = [];
  for (let n = 0; n < count; n++) jobs.push((await queue.take(5))!);
  return jobs;
};
const textsOf = (jobs: readonly { readonly text: string }[]) => jobs.map(({ text }) => text);

describe.each(Object.keys(STORES))('a queue (%s)', (kind) => {
  let store: SharedStore;
  let queue: WorkQueue;
  beforeEach(async (context) => {
    if (kind === 'NATS' && missing.length > 0) {
      context.skip('needs nats-server; npm run test:cluster installs it');
    }
    store = await STORES[kind]!();
    queue = await store.queue('jobs', SILENCE);
    await queue.clear();
    return () => store.close();
  });

  it('gives each job to one of those who take, oldest first, until it is complete', async () => {
    expect(await queue.isEmpty()).toBe(true);
    for (const text of ['a', 'b', 'c']) await queue.put(text);
    const same = await store.queue('jobs', SILENCE);
    const [a] = await takeAll(queue, 1);
    const [b] = await takeAll(same, 1);
    const [c] = await takeAll(queue, 1);
    expect(textsOf([a!, b!, c!])).toEqual(['a', 'b', 'c']);
    expect(await queue.take(1)).toBeUndefined();
    expect(await queue.isEmpty()).toBe(false);
    for (const job of [a!, b!, c!]) await job.complete();
    await expect.poll(() => queue.isEmpty()).toBe(true);
  });

  it('gives a job that was given back to another one, before later ones', async () => {
    for (const text of ['a', 'b', 'c']) await queue.put(text);
    const [a, b] = await takeAll(queue, 2);
    a!.keep();
    await a!.giveBack();
    const again = await takeAll(queue, 2);
    expect(textsOf(again)).toEqual(['a', 'c']);
    for (const job of [b!, ...again]) await job.complete();
    await expect.poll(() => queue.isEmpty()).toBe(true);
  });

  it('wakes who waits when a job comes', async () => {
    const taking = queue.take(20);
    await queue.put('late');
    const job = await taking;
    expect(job?.text).toBe('late');
    await job!.complete();
  });

  it('forgets all jobs when it is cleared, and has no part in other queues', async () => {
    const other = await store.queue('others', SILENCE);
    await other.clear();
    for (const text of ['a', 'b']) await queue.put(text);
    await other.put('x');
    const [held] = await takeAll(queue, 1);
    await queue.clear();
    expect(await queue.isEmpty()).toBe(true);
    await held!.giveBack();
    await queue.put('new');
    expect(textsOf(await takeAll(queue, 1))).toEqual(['new']);
    expect(textsOf(await takeAll(other, 1))).toEqual(['x']);
  });
});

it('gives the jobs of one who is silent to others, and takes a late completion', async () => {
  const queue = await memoryStore().queue('jobs');
  await queue.put('a');
  const first = await queue.take(1);
  queue.expire();
  const second = await queue.take(1);
  expect(second?.text).toBe('a');
  await second!.complete();
  await first!.complete();
  expect(await queue.isEmpty()).toBe(true);
});

it('keeps jobs, and who holds them, when the server is killed', async (context) => {
  if (missing.length > 0) context.skip('needs nats-server; npm run test:cluster installs it');
  const store = await STORES['NATS']!();
  const queue = await store.queue('kept', SILENCE);
  for (const text of ['a', 'b', 'c']) await queue.put(text);
  const [a] = await takeAll(queue, 1);
  await server!.kill();
  const taking = queue.take(5);
  await server!.start();
  const taken = (await taking) ?? (await queue.take(30));
  expect(taken?.text).toBe('b');
  await a!.complete();
  await taken!.complete();
  expect(textsOf(await takeAll(queue, 1))).toEqual(['c']);
  await store.close();
});
