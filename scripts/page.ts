/**
 * The built playground: how much script a browser has to load for it, as it travels.
 *
 * Looks at `dist/web`, which the build has just written.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Finding } from './finding.js';
import type { Tree } from './tree.js';

const FOLDER = 'dist/web/assets';
const MAX_BYTES = 100_000;

/** A finding if the scripts, each after gzip, are more than the page may have. */
export function checkScripts(scripts: readonly Uint8Array[]): Finding[] {
  const bytes = scripts.reduce((sum, script) => sum + gzipSync(script).length, 0);
  if (bytes <= MAX_BYTES) return [];
  const what = `has ${bytes} bytes of script after gzip; ${MAX_BYTES} are allowed`;
  return [
    { path: FOLDER, line: 1, what, todo: 'leave something out, or load it when it is needed' },
  ];
}

export function checkPage(_: Tree, root: string): Finding[] {
  const folder = join(root, FOLDER);
  const names = readdirSync(folder).filter((name) => name.endsWith('.js'));
  return checkScripts(names.map((name) => readFileSync(join(folder, name))));
}
