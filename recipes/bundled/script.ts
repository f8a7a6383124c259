/** What the scripts of this folder share. */
import { createRequire } from 'node:module';

/** Version of an installed package. */
export function versionOf(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
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
