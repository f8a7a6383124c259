/**
 * Files that are still being downloaded: `<blob>.<host>.<pid>.<nonce>.incomplete` beside the blobs.
 *
 * Each download writes to a name of its own, so two processes never write to one file. What a
 * process that is gone has left behind is taken over by renaming it: of several takers one succeeds.
 * It does not know what the bytes are. Source: naming after huggingface_hub 2, which does not resume.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/** Nobody writes for so long to a file that is still wanted: retries wait for less. */
const ABANDONED_AFTER_MS = 600_000;

/** Paths this process writes to now. */
const inUse = new Set<string>();

/**
 * A path of one's own for the content of a blob, with the bytes of an earlier download if one was
 * given up; more of them are removed. The path is ours until `releasePartial`.
 */
export async function claimPartial(folder: string, hash: string): Promise<string> {
  const host = hostname()
    .replaceAll(/[^\w-]/g, '_')
    .slice(0, 64);
  const nonce = randomBytes(4).toString('hex');
  const path = join(folder, `${hash}.${host}.${process.pid}.${nonce}.incomplete`);
  inUse.add(path);
  let isClaimed = false;
  for (const abandoned of await abandonedPartials(folder, hash, host)) {
    if (isClaimed) await rm(abandoned, { force: true });
    else isClaimed = await rename(abandoned, path).then(...SUCCEEDED);
  }
  return path;
}

/** Gives a path up: what is there may be taken over. */
export function releasePartial(path: string): void {
  inUse.delete(path);
}

/** Turns a promise into whether it was kept; used where losing a race is no error. */
const SUCCEEDED = [() => true, () => false] as const;

/** Unfinished files of a blob that nobody writes to any more, the longest first. */
async function abandonedPartials(folder: string, hash: string, host: string): Promise<string[]> {
  const found: { path: string; size: number }[] = [];
  for (const name of await readdir(folder)) {
    const owner = /^([\w-]+)\.(\d+)\.[0-9a-f]{8}\.incomplete$/.exec(name.slice(hash.length + 1));
    if (!name.startsWith(`${hash}.`) || owner === null) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => undefined);
    if (info === undefined) continue; // another process was faster
    const isOld = Date.now() - info.mtimeMs > ABANDONED_AFTER_MS;
    const isOrphan = owner[1] === host && !isAtWork(Number(owner[2]), path);
    if (isOld || isOrphan) found.push({ path, size: info.size });
  }
  return found.toSorted((a, b) => b.size - a.size).map(({ path }) => path);
}

function isAtWork(pid: number, path: string): boolean {
  if (pid === process.pid) return inUse.has(path);
  try {
    process.kill(pid, 0); // asks, and sends nothing
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
