/** What tests of the hub share: a small model, a server that is closed, a platform that never waits. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { HubPlatform } from '../../src/platform/node/hub/index.js';
import { NODE_PLATFORM } from '../../src/platform/node/hub/index.js';
import type { HubServer } from './hub-server.js';
import { startHub } from './hub-server.js';

const TINY = new URL('../fixtures/tiny-mha/', import.meta.url);

/** Bytes without pattern, the same in every run. */
export function noise(numBytes: number): Buffer {
  const bytes = Buffer.alloc(numBytes);
  for (let i = 0, state = 1; i < numBytes; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

/** The files of a repository, some of which no model needs. */
export const REPOSITORY: Readonly<Record<string, Buffer>> = {
  'README.md': Buffer.from('# tiny'),
  'config.json': readFileSync(new URL('config.json', TINY)),
  'generation_config.json': Buffer.from('{}'),
  'merges.txt': Buffer.from('a b\n'),
  'model.safetensors': readFileSync(new URL('model.safetensors', TINY)),
  'pytorch_model.bin': Buffer.from('pickle'),
  'tokenizer.json': Buffer.from('{"version":"1.0"}'),
};

/** The files of it that a pull fetches. */
export const PULLED = Object.keys(REPOSITORY).filter((name) => !/README|pytorch/.test(name));

export interface HubTest {
  hub: HubServer;
  /** An empty folder; HF_HOME lies in it. */
  folder: string;
  /** HF_HOME/hub. */
  cache: string;
  platform: HubPlatform;
  /** The waits that were asked for, in milliseconds. */
  waits: number[];
}

/** Sets up a hub with `REPOSITORY` and an empty cache for each test of the file. */
export function setUpHub(): HubTest {
  const test = {} as HubTest;
  beforeEach(async () => {
    test.hub = await startHub(REPOSITORY);
    test.folder = mkdtempSync(join(tmpdir(), 'looplm-hub-'));
    test.cache = join(test.folder, 'hub');
    test.waits = [];
    test.platform = {
      ...NODE_PLATFORM,
      env: { HF_HOME: test.folder, HF_ENDPOINT: test.hub.url },
      sleep: async (ms) => void test.waits.push(ms),
    };
  });
  afterEach(async () => {
    await test.hub.close();
    rmSync(test.folder, { recursive: true, force: true });
  });
  return test;
}
