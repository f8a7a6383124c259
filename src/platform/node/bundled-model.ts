/**
 * Where the package keeps what comes with it.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Directory of the installed package. */
export function packageFolder(): string {
  return dirname(createRequire(import.meta.url).resolve('looplm/package.json'));
}

/** Directory of the small model that comes with looplm. */
export function bundledModelPath(): string {
  return join(packageFolder(), 'models', 'bundled');
}
