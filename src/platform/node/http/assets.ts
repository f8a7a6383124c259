/** The files of a folder in memory, for a server that shows them. */
import { readFile, readdir } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import type { Asset } from '../../../serve/index.js';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
};

/** Files of kinds that pages use, by their path from the folder, such as `/index.html`; empty without one. */
export async function readAssets(folder: string): Promise<ReadonlyMap<string, Asset>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter(
    (entry) => entry.isFile() && Object.hasOwn(TYPES, extname(entry.name)),
  );
  const assets = await Promise.all(
    files.map(async ({ name, parentPath }) => {
      const path = join(parentPath, name);
      const body = new Uint8Array(await readFile(path));
      const address = path.slice(folder.length).replaceAll(sep, '/');
      return [address, { body, contentType: TYPES[extname(name)]! }] as const;
    }),
  );
  return new Map(assets);
}
