import * as fs from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { DownloadError, FileError } from '../../../errors.js';
import { noise, setUpHub } from '../../../../test/hub/hub-client.js';
import type { Fault } from '../../../../test/hub/hub-server.js';
import { dropAfter, hashOf, MODEL, refuse, sendContent } from '../../../../test/hub/hub-server.js';
import type { PullOptions, PullProgress } from './pull.js';
import { NODE_PLATFORM } from './platform.js';
import { pullModel } from './pull.js';

const test = setUpHub();
const WEIGHTS = 'model.safetensors';
const SIZE = 900_000;
const PART = 300_000;
const CONTENT = noise(SIZE);
const HASH = hashOf(WEIGHTS, CONTENT);
const CDN = /^\/cdn\//;

beforeEach(() => void test.hub.files.set(WEIGHTS, CONTENT));

const pull = (options: PullOptions = {}) => pullModel(MODEL, options, test.platform);
const pullError = (options: PullOptions = {}): Promise<Error> =>
  pull(options).then(
    () => new Error('it did not fail'),
    (error: Error) => error,
  );
const blobs = () => join(test.cache, 'models--org--tiny', 'blobs');
const partials = () => fs.readdirSync(blobs()).filter((name) => name.endsWith('.incomplete'));
const ranges = () => test.hub.downloads(WEIGHTS).map(({ range }) => range);

/** The weights have arrived, whole, and nothing unfinished is left. */
function expectWhole(path: string): void {
  expect(fs.readFileSync(join(path, WEIGHTS)).equals(CONTENT)).toBe(true);
  expect(partials()).toEqual([]);
}

describe('a dropped connection', () => {
  it('is resumed where it broke, as often as it gets on', async () => {
    test.hub.fail(CDN, dropAfter(SIZE / 8), 7); // more often than patience lasts without progress
    const events: PullProgress[] = [];
    expectWhole((await pull({ progress: (event) => events.push(event) })).path);
    const starts = ranges().map((range) => Number(range?.slice('bytes='.length, -1) ?? 0));
    expect(starts).toHaveLength(8);
    expect(starts).toEqual([...new Set(starts)].toSorted((a, b) => a - b));
    expect(test.waits).toEqual(Array.from({ length: 7 }, () => 1000));
    expect(events.filter(({ retry }) => retry).map(({ retry }) => retry)).toContainEqual({
      why: 'The connection was lost',
      waitMs: 1000,
    });
  });

  it('that never gets on ends the pull after ever longer waits, and keeps what is there', async () => {
    test.hub.fail(CDN, dropAfter(PART));
    test.hub.fail(CDN, (response) => response.destroy(), Infinity);
    const error = await pullError();
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(/was lost \(tried 6 times\).*kept/);
    expect(test.waits).toEqual([1000, 2000, 4000, 8000, 16_000]);
    expect(partials()).toHaveLength(1);
    const { size } = fs.statSync(join(blobs(), partials()[0]!));
    expect(size).toBeGreaterThan(0);
  });

  it('starts anew where the server ignores ranges', async () => {
    test.hub.fail(CDN, dropAfter(PART));
    test.hub.fail(CDN, (response) => {
      response.writeHead(200, { 'content-length': SIZE }).end(CONTENT);
    });
    expectWhole((await pull()).path);
    expect(ranges()[1]).toMatch(/^bytes=\d+-$/);
  });

  it('without a length is noticed', async () => {
    test.hub.fail(CDN, (response) => {
      response.write(CONTENT.subarray(0, 1000));
      response.end();
    });
    expectWhole((await pull()).path);
    expect(ranges()).toEqual([undefined, 'bytes=1000-']);
  });
});

describe('a later pull', () => {
  const abandon = async () => {
    test.hub.fail(CDN, dropAfter(PART));
    test.hub.fail(CDN, (response) => refuse(response, 403, 'GatedRepo', ''));
    await pullError();
    return join(blobs(), partials()[0]!);
  };
  it('goes on from what a failed one has left', async () => {
    const { size } = fs.statSync(await abandon());
    test.hub.seen.length = 0;
    expectWhole((await pull()).path);
    expect(ranges()).toEqual([`bytes=${size}-`]);
  });

  it('leaves alone what the Python client is writing', async () => {
    await abandon();
    const others = [`${HASH}.incomplete`, `${HASH}.12345678.incomplete`];
    for (const other of others) fs.writeFileSync(join(blobs(), other), 'theirs');
    await pull();
    for (const other of others) {
      expect(fs.readFileSync(join(blobs(), other), 'utf8')).toBe('theirs');
    }
  });

  it('that finds other bytes than these begins once more', async () => {
    fs.writeFileSync(await abandon(), Buffer.alloc(PART, 7));
    test.hub.seen.length = 0;
    expectWhole((await pull()).path);
    expect(ranges()).toEqual([`bytes=${PART}-`, undefined]);
  });

  it('that finds all bytes fetches none, and too many begins anew', async () => {
    const partial = await abandon();
    fs.writeFileSync(partial, CONTENT);
    test.hub.seen.length = 0;
    const { path } = await pull();
    expectWhole(path);
    expect(ranges()).toEqual([]);

    fs.rmSync(join(blobs(), HASH));
    fs.writeFileSync(partial, Buffer.alloc(SIZE + 1));
    expectWhole((await pull()).path);
    expect(ranges()).toEqual([undefined]);
  });
});

describe('wrong bytes', () => {
  it('with a wrong checksum are told with the name of the file, and not kept', async () => {
    const wrong = Buffer.from(CONTENT);
    wrong[SIZE / 2]! ^= 1;
    test.hub.fail(CDN, (response, request) => sendContent(response, request, wrong), Infinity);
    const error = await pullError();
    expect(error).toBeInstanceOf(DownloadError);
    expect(error.message).toMatch(/^model\.safetensors: .*checksum/);
    expect(fs.readdirSync(blobs()).filter((name) => name.startsWith(HASH))).toEqual([]);
    expect(ranges()).toEqual([undefined]);
  });

  it('of a small file are noticed too', async () => {
    test.hub.fail(/config\.json/, (response, request, content) =>
      sendContent(response, request, Buffer.from(content.map((byte) => byte ^ 1))),
    );
    expect((await pullError()).message).toMatch(/config\.json: .*checksum/);
  });

  it('in parts that never fit are given up after one whole try', async () => {
    test.hub.fail(CDN, dropAfter(PART));
    test.hub.fail(
      CDN,
      (response, request) => sendContent(response, request, Buffer.alloc(SIZE, 1)),
      Infinity,
    );
    expect((await pullError()).message).toMatch(/checksum/);
    expect(ranges()).toHaveLength(3);
  });

  const ofSize =
    (size: number): Fault =>
    (response, request) =>
      sendContent(response, request, noise(size));

  it.each([SIZE - 1, SIZE + 1])('of another size (%i) are told before they come', async (size) => {
    test.hub.fail(CDN, ofSize(size));
    expect((await pullError()).message).toMatch(
      new RegExp(`^model\\.safetensors: .* ${size} bytes, but the hub lists ${SIZE}`),
    );
    expect(partials()).toEqual([]);
  });

  it('of another size in a part are told, and what is there is kept', async () => {
    test.hub.fail(CDN, dropAfter(PART));
    test.hub.fail(CDN, ofSize(SIZE + 1));
    expect((await pullError()).message).toMatch(/900001 bytes, but the hub lists 900000/);
    expect(partials()).toHaveLength(1);
  });

  it('without end are cut off', async () => {
    test.hub.fail(CDN, (response) => {
      response.write(CONTENT);
      response.end(CONTENT);
    });
    expect((await pullError()).message).toMatch(/^model\.safetensors: .*more than the 900000/);
    expect(partials()).toEqual([]);
  });
});

describe('a busy server', () => {
  const busy =
    (status: number, headers: Readonly<Record<string, string>> = {}): Fault =>
    (response) =>
      refuse(response, status, undefined, 'busy', headers);

  it('is waited for as long as it asks', async () => {
    test.hub.fail(/\/api\//, busy(429, { 'retry-after': '7' }));
    test.hub.fail(CDN, busy(429, { ratelimit: '"resolvers";r=0;t=55' }));
    expectWhole((await pull()).path);
    expect(test.waits).toEqual([7000, 55_000]);
  });

  it('with errors of its own is tried again', async () => {
    for (const status of [500, 502, 503]) test.hub.fail(/\/api\//, busy(status));
    test.hub.fail(/\/resolve\//, busy(504));
    expectWhole((await pull()).path);
    expect(test.waits).toEqual([1000, 2000, 4000, 1000]);
  });

  it('that asks for a very long wait is told instead', async () => {
    test.hub.fail(/\/api\//, busy(429, { 'retry-after': '3600' }));
    expect((await pullError()).message).toMatch(/fewer requests \(too long to wait for\)/);
  });

  it('that stays busy ends the pull', async () => {
    test.hub.fail(/\/api\//, busy(503), Infinity);
    expect((await pullError()).message).toMatch(/status 503 \(tried 6 times\)/);
  });
});

describe('a full disk', () => {
  /** Files that take no more than so many bytes. */
  const disk = (capacity: number) => async (path: string) => {
    const handle = await test.platform.openWritable(path);
    const write = handle.write.bind(handle) as (...all: unknown[]) => Promise<unknown>;
    const limited = async (chunk: Uint8Array, offset: number, length: number, at: number) => {
      if (at >= capacity) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      return write(chunk, offset, Math.min(length, capacity - at), at);
    };
    return Object.assign<FileHandle, object>(handle, { write: limited });
  };

  it('is told, and with room again the pull goes on', async () => {
    const { platform } = test;
    const full = { ...platform, openWritable: disk(PART) };
    const error = await pullModel(MODEL, {}, full).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(FileError);
    expect((error as Error).message).toMatch(/the disk is full/);
    expect(fs.statSync(join(blobs(), partials()[0]!)).size).toBe(PART);
    test.hub.seen.length = 0;
    expectWhole((await pull()).path);
    expect(ranges()).toEqual([`bytes=${PART}-`]);
  });
});

describe('an abort', () => {
  it('ends the pull at once with its reason, and the next goes on', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    test.hub.bytesPerSecond = 2_000_000;
    const error = await pullError({
      signal: controller.signal,
      progress: ({ receivedBytes }) => void (receivedBytes > SIZE / 10 && controller.abort(reason)),
    });
    expect(error).toBe(reason);
    expect(partials()).toHaveLength(1);
    delete test.hub.bytesPerSecond;
    test.hub.seen.length = 0;
    expectWhole((await pull()).path);
    expect(ranges()[0]).toMatch(/^bytes=\d+-$/);
  });

  it('before the start asks nothing', async () => {
    const reason = new Error('never');
    expect(await pullError({ signal: AbortSignal.abort(reason) })).toBe(reason);
    expect(test.hub.seen).toEqual([]);
  });

  it('ends a wait', async () => {
    const controller = new AbortController();
    test.hub.fail(/\/api\//, (response) => refuse(response, 503, undefined, ''));
    const sleep = (ms: number, signal: AbortSignal | undefined) => {
      setTimeout(() => controller.abort(new Error('enough')));
      return NODE_PLATFORM.sleep(ms * 100, signal);
    };
    const waiting = pullModel(MODEL, { signal: controller.signal }, { ...test.platform, sleep });
    await expect(waiting).rejects.toThrow('enough');
  });
});

it('pulls at the same time share the download: the later one waits, and says for whom', async () => {
  test.hub.bytesPerSecond = 2_000_000;
  const messages: string[] = [];
  const onWait = (message: string) => void messages.push(message);
  const [first, second] = await Promise.all([pull({ onWait }), pull({ onWait })]);
  expect(second).toEqual(first);
  expectWhole(first.path);
  expect(ranges()).toEqual([undefined]);
  expect(messages).toContainEqual(
    expect.stringMatching(`^Waiting: Process ${process.pid} has been pulling org/tiny since`),
  );
  expect(fs.readdirSync(blobs()).filter((name) => name.includes('.'))).toEqual([]);
});

it('a blob of another size is fetched again', async () => {
  await pull();
  fs.writeFileSync(join(blobs(), HASH), 'damaged');
  expectWhole((await pull()).path);
});
