/** A reward that never comes is given up in a process that has nothing else to do, too. */
import { execFileSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { repositoryPath } from '../repository.js';

it('does not end the process', () => {
  const library = pathToFileURL(repositoryPath('dist/src/rl/index.js')).href;
  const code = `
    const { judge } = await import(${JSON.stringify(library)});
    const task = { name: 'x', draw: () => ({ prompt: '' }), reward: () => new Promise(() => {}) };
    const answer = { text: '', tokenIds: [], exitDepths: [], finishReason: 'stop-id' };
    console.log(JSON.stringify(await judge(task, answer, { prompt: '' }, 100)));`;
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
    encoding: 'utf8',
  });
  expect(JSON.parse(output)).toEqual({ fault: 'it took longer than 0.1 s' });
});
