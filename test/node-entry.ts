/** The compiled platform, for tests that import it in processes of their own. */
import { existsSync } from 'node:fs';

/** Address of the compiled `looplm/node`. @throws if it was not built. */
export function nodeEntry(): string {
  const entry = new URL('../dist/src/platform/node/index.js', import.meta.url);
  if (!existsSync(entry)) throw new Error('dist/ is missing: run `npm run build` first.');
  return entry.href;
}
