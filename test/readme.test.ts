/** What the README shows is what the repository does. */
import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cli, repositoryPath } from './cli/support.js';

const readme = readFileSync(repositoryPath('README.md'), 'utf8');
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(
    ([, code]) => code!,
  );

test('the library example of the README is the example that the tests run', () => {
  const example = readFileSync(repositoryPath('examples/generate.ts'), 'utf8');
  const [shown] = blocks('ts');
  expect(shown).toBeDefined();
  expect(example.endsWith(shown!)).toBe(true);
});

test('every example says which script runs it, on any Node.js that looplm supports', () => {
  const { scripts } = JSON.parse(readFileSync(repositoryPath('package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const name of readdirSync(repositoryPath('examples')).filter((file) =>
    file.endsWith('.ts'),
  )) {
    const text = readFileSync(repositoryPath(`examples/${name}`), 'utf8');
    const [, script] = /`npm run (\S+)`/.exec(text) ?? [];
    const program = `node dist/examples/${name.replace(/ts$/, 'js')}`;
    expect(scripts[script!], name).toBe(`npm run build && ${program}`);
  }
});

test('every looplm command of the README succeeds', async () => {
  const commands = blocks('sh')
    .flatMap((block) => block.split('\n'))
    .filter((line) => line.startsWith('npx looplm '));
  expect(commands.length).toBeGreaterThan(1);
  for (const command of commands) {
    const argv = (command.match(/"[^"]*"|\S+/g) ?? [])
      .slice(2)
      .map((word) => word.replaceAll('"', ''));
    const { exitCode, stdout } = await cli(argv);
    expect(exitCode, command).toBe(0);
    expect(stdout, command).not.toBe('');
  }
});
