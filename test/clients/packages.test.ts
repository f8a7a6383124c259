/** Names the clients that need packages of their own, and runs those that are installed. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { repositoryPath } from '../repository.js';

test('the openai package and the AI SDK', { timeout: 240_000 }, (context) => {
  if (!existsSync(repositoryPath('test/clients/node_modules/openai'))) {
    context.skip('left out: npm run test:clients installs and runs them');
  }
  const main = repositoryPath('dist/test/clients/main.js');
  const { status, stdout } = spawnSync(process.execPath, [main], { encoding: 'utf8' });
  expect(status, stdout).toBe(0);
});

test('evaluators and trainers in Python', (context) => {
  context.skip('left out: npm run test:clients:python installs and runs them, with Python 3.11');
});
