/**
 * Makes the program out of the compiled sources: a few files, in dist/bin. `npm run build` ends with it.
 *
 * Node.js takes half a millisecond and more to find, read and link a module, and a command has
 * hundreds. The entries of threads lie beside the program, as they lie beside `thread-entry.ts` in the
 * sources. Of the packages only zod comes along, which is many small files; the library stays as it is
 * compiled, file by file.
 * Source: docs/decisions/2026-11-28-bundled-program.md.
 */
import { copyFileSync, rmSync } from 'node:fs';
import { build } from 'rolldown';

const FOLDER = 'dist/bin';
/** As `thread-entry.ts` names them. */
const THREADS = [
  'worker',
  'attention-worker',
  'convert-worker',
  'random-worker',
  'tokenize-worker',
];

rmSync(FOLDER, { recursive: true, force: true });
await build({
  input: {
    looplm: 'dist/src/cli/main.js',
    ...Object.fromEntries(THREADS.map((name) => [name, `dist/src/platform/node/${name}.js`])),
  },
  platform: 'node',
  external: (id) => !/^([./#]|zod(\/|$))/.test(id),
  output: { dir: FOLDER, entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' },
  logLevel: 'warn',
});
copyFileSync('node_modules/zod/LICENSE', `${FOLDER}/zod.LICENSE`);
