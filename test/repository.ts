/** Where the repository is, from the sources of the tests and from what they are compiled to. */
import { fileURLToPath } from 'node:url';

const ROOT = new URL(import.meta.url.includes('/dist/test/') ? '../../' : '../', import.meta.url);

/** Path of a file or folder of the repository. */
export const repositoryPath = (path: string): string => fileURLToPath(new URL(path, ROOT));
