/**
 * The version of the installed package, read where it is stated.
 */
import { createRequire } from 'node:module';

export function packageVersion(): string {
  const manifest = createRequire(import.meta.url)('looplm/package.json') as { version: string };
  return manifest.version;
}
