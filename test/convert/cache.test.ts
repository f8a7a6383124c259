/** The cache of converted models: one conversion for equal sources and settings, another for others. */
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertedFolder, fixturePath, temporaryFolder, weightsOf } from './support.js';

const temporary = temporaryFolder();
const cacheDir = join(temporary, 'cache');
const q8 = { dtype: 'q8' } as const;

/** A copy of tiny-mha. */
function copyOf(name: string): string {
  const path = join(temporary, name);
  mkdirSync(path, { recursive: true });
  for (const file of ['config.json', 'model.safetensors']) {
    copyFileSync(join(fixturePath('tiny-mha'), file), join(path, file));
  }
  return path;
}

/** A copy of tiny-mha as the hub's cache holds it. */
function snapshotOf(hubCache: string): string {
  const repository = join(temporary, hubCache, 'models--ORG--Tiny-Thinking');
  const snapshot = join(repository, 'snapshots', '0'.repeat(40));
  mkdirSync(join(repository, 'blobs'), { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  const blob = join(repository, 'blobs', 'a'.repeat(64));
  copyFileSync(join(fixturePath('tiny-mha'), 'model.safetensors'), blob);
  symlinkSync(blob, join(snapshot, 'model.safetensors'));
  copyFileSync(join(fixturePath('tiny-mha'), 'config.json'), join(snapshot, 'config.json'));
  return snapshot;
}

describe('convertedFolder', () => {
  it('converts once for each source, settings and revision', async () => {
    const path = copyOf('model');
    let conversions = 0;
    const options = {
      cacheDir,
      progress: ({ doneBytes }: { doneBytes: number }) => {
        if (doneBytes > 0) conversions++;
      },
    };
    const first = await convertedFolder({ path }, q8, options);
    const afterFirst = conversions;
    expect(afterFirst).toBeGreaterThan(0);
    expect(await convertedFolder({ path }, q8, options)).toBe(first);
    expect(conversions).toBe(afterFirst);
    const others = [
      await convertedFolder({ path }, { dtype: 'q4' }, options),
      await convertedFolder({ path }, { ...q8, blockSize: 64 }, options),
      await convertedFolder({ path, revision: '1'.repeat(40) }, q8, options),
    ];
    expect(new Set([first, ...others]).size).toBe(4);
    // What is the default has the same key as what is said.
    expect(await convertedFolder({ path }, { ...q8, head: 'f16' }, options)).toBe(first);
  });

  it('notices a changed weight file, config and tokenizer', async () => {
    const path = copyOf('changing');
    const folders = [await convertedFolder({ path }, q8, { cacheDir })];
    const weights = join(path, 'model.safetensors');
    const bytes = readFileSync(weights);
    bytes[bytes.length - 20]! ^= 1;
    writeFileSync(weights, bytes);
    utimesSync(weights, 1, 1);
    folders.push(await convertedFolder({ path }, q8, { cacheDir }));
    writeFileSync(join(path, 'generation_config.json'), '{}');
    folders.push(await convertedFolder({ path }, q8, { cacheDir }));
    const config = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as object;
    writeFileSync(join(path, 'config.json'), JSON.stringify({ ...config, rope_theta: 7 }));
    folders.push(await convertedFolder({ path }, q8, { cacheDir }));
    expect(new Set(folders).size).toBe(4);
  });

  it('knows a snapshot of the hub by its checksum, wherever the cache lies, and keeps its name', async () => {
    const revision = '0'.repeat(40);
    const [here, there] = [snapshotOf('hub-1'), snapshotOf('hub-2')];
    const first = await convertedFolder({ path: here, revision }, q8, { cacheDir });
    expect(basename(first)).toMatch(/^Tiny-Thinking-q8-[0-9a-f]{16}$/);
    expect(await convertedFolder({ path: there, revision }, q8, { cacheDir })).toBe(first);
  });

  it('lies where LOOPLM_CACHE or XDG_CACHE_HOME say', async () => {
    const path = copyOf('placed');
    const [own, xdg] = [join(temporary, 'own'), join(temporary, 'xdg')];
    const first = await convertedFolder({ path }, q8, {
      env: { LOOPLM_CACHE: own, XDG_CACHE_HOME: xdg },
    });
    const second = await convertedFolder({ path }, q8, { env: { XDG_CACHE_HOME: xdg } });
    expect(first.startsWith(join(own, 'converted'))).toBe(true);
    expect(second.startsWith(join(xdg, 'looplm', 'converted'))).toBe(true);
    expect(weightsOf(first)).toBe(weightsOf(second));
  });

  it('works again after its folder was removed', async () => {
    const path = copyOf('again');
    const first = await convertedFolder({ path }, q8, { cacheDir });
    const sum = weightsOf(first);
    renameSync(first, `${first}-gone`);
    expect(weightsOf(await convertedFolder({ path }, q8, { cacheDir }))).toBe(sum);
  });
});
