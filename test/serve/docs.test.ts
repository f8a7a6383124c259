/** Every example of docs/serving.md runs, against a server with the bundled model. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cli, repositoryPath } from '../cli/support.js';
import { metricsOf } from './metrics-text.js';
import type { Model, TestServer } from './server.js';
import { loadModel, openServer } from './server.js';

const text = readFileSync(repositoryPath('docs/serving.md'), 'utf8');
const ADDRESS = 'http://127.0.0.1:8080';

/** Fenced blocks of a language. */
const blocks = (language: string): string[] =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, code]) => code!);

/** Commands of a shell: lines, but for those that a quote holds together. */
const commands = blocks('sh').flatMap((block) => block.match(/(?:'[^']*'|[^'\n])+/g) ?? []);
const wordsOf = (command: string) =>
  (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replaceAll("'", ''));

let model: Model;
let server: TestServer;

beforeAll(async () => {
  model = await loadModel();
  server = await openServer(model);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await model.dispose();
});

/** What curl would do: `-H` and `-d`, and `-N`, which only keeps it from waiting. */
async function curl(words: readonly string[]): Promise<Response> {
  const after = (flag: string) =>
    words.flatMap((word, at) => (word === flag ? words[at + 1]! : []));
  const [body] = after('-d');
  const headers = after('-H').map((header): [string, string] => {
    const [name = '', value = ''] = header.split(/:\s*/);
    return [name, value];
  });
  const address = words.find((word) => word.startsWith(ADDRESS))!;
  return fetch(address.replace(ADDRESS, server.url), {
    headers,
    ...(body !== undefined && { method: 'POST', body }),
  });
}

describe('the examples of docs/serving.md', () => {
  test.each(commands.filter((command) => command.startsWith('curl')))('%s', async (command) => {
    const response = await curl(wordsOf(command));
    const answer = await response.text();
    expect(response.status, answer).toBe(200);
    const isStream = command.includes('"stream": true');
    if (isStream) expect(answer).toMatch(/data: \[DONE\]\n\n$/);
    else if (!command.includes('/metrics')) JSON.parse(answer);
  });

  test.each(commands.filter((command) => command.startsWith('looplm')))('%s', async (command) => {
    const argv = [...wordsOf(command).slice(1), '--port', '0'];
    const { exitCode, stdout } = await cli(argv, { interrupts: 'at output' });
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/^looplm is ready: .* at http:/)]);
  });

  test.each(blocks('js'))('%s', async (code) => {
    const printed: unknown[] = [];
    const AsyncFunction = (async () => {}).constructor as new (
      ...names: string[]
    ) => (...values: unknown[]) => Promise<void>;
    const run = new AsyncFunction('console', code.replaceAll(ADDRESS, server.url));
    await run({ log: (...values: unknown[]) => printed.push(...values) });
    expect(printed[0]).toEqual(expect.any(String));
    expect(printed[1]).toContainEqual(expect.any(Number));
    expect(printed[2]).toEqual(expect.any(Number));
  });

  test('no other commands are shown', () => {
    expect(commands.filter((command) => !/^(?:curl|looplm) /.test(command))).toEqual([]);
    expect(commands.length).toBeGreaterThan(10);
  });
});

test('the flags of the table are those of the help', async () => {
  const { stdout } = await cli(['serve', '--help']);
  const [, table = ''] = /\n\| flag .*?\n((?:\|.*\n)+)/.exec(text) ?? [];
  const named = table
    .split('\n')
    .flatMap((row) => (row.split('|')[1] ?? '').match(/--[a-z][\w-]+/g) ?? []);
  expect(named.length).toBeGreaterThan(10);
  for (const flag of named) expect(stdout, flag).toMatch(new RegExp(`^  ${flag} `, 'm'));
});

test('the metrics that are named are those that are told', async () => {
  await server.json('/v1/completions', { prompt: 'a', speculation: 1, exit_policy: 'full' });
  const told = new Set(
    [...(await metricsOf(server)).keys()].map((name) =>
      name.replace(/\{.*$/, '').replace(/_(?:bucket|sum|count)$/, ''),
    ),
  );
  const named = text.match(/(?:vllm|looplm):\w+/g)!;
  for (const name of named) expect([...told], name).toContain(name);
});
