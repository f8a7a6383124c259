/** What the scripts of this folder share. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

/** Version of an installed package. */
export function versionOf(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
}

/** The SHA-256 of a file, in hexadecimal digits. */
export async function sha256Of(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** Prints how far a part of the measuring is, at most once a second, and its end. */
export function progressOf(what: string): (done: number, total: number) => void {
  let printedMs = -Infinity;
  return (done, total) => {
    const nowMs = performance.now();
    if (done < total && nowMs - printedMs < 1000) return;
    printedMs = nowMs;
    console.log(`${what}: ${Math.floor((100 * done) / total)} %`);
  };
}
