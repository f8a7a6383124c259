/**
 * Where the package keeps the model that comes with it.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Directory of the small model that comes with looplm. */
export function bundledModelPath(): string {
  const packageJson = createRequire(import.meta.url).resolve('looplm/package.json');
  return join(dirname(packageJson), 'models', 'bundled');
}
