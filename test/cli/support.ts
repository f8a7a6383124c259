/**
 * What the tests of the command line share.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { repositoryPath } from '../repository.js';

export { copyOfBundled } from '../bundled-copy.js';
export { cli, cliJson } from './run-cli.js';
export { repositoryPath };

/** A model of the fixtures; it has no tokenizer. */
export const TINY = repositoryPath('test/fixtures/tiny-mha');

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'looplm-cli-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
