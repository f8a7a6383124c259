/** Every example in JavaScript of docs/clients.md runs, and prints what the library says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openLibrary, startServer } from './support.mjs';

const PAGE = fileURLToPath(new URL('../../../docs/clients.md', import.meta.url));
/** Where the clients are installed. */
const FOLDER = fileURLToPath(new URL('..', import.meta.url));
const ADDRESS = 'http://127.0.0.1:8080';

const examples = [...readFileSync(PAGE, 'utf8').matchAll(/```js\n(.*?)```/gs)].map(
  ([, code]) => code,
);

let server;
let library;
before(async () => {
  server = await startServer();
  library = await openLibrary();
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  await library?.[Symbol.asyncDispose]();
});

async function outputOf(code) {
  const example = code.replaceAll(ADDRESS, server.url);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', example],
    { cwd: FOLDER },
  );
  return stdout;
}

/** Examples by what they import, with what they print. */
const PRINTED = {
  async openai() {
    const first = await library.answer('cup 3; swap 2 3; swap 1 5;', { exitPolicy: 'cdf:0.5' });
    const second = await library.answer('take 4; plus 7; times 3;');
    return [
      `${first.answer} { depths: [ ${first.exitDepths.join(', ')} ], meanDepth: ${first.meanDepth} }\n`,
      `${second.answer}\n400 exit_policy\n`,
    ].join('');
  },
  async ai() {
    const { answer, exitDepths } = await library.answer('cup 3; swap 2 3; swap 1 5;', {
      exitPolicy: 'cdf:0.5',
    });
    return `${answer} { depths: [ ${exitDepths.join(', ')} ] }\n`;
  },
};

for (const [name, printed] of Object.entries(PRINTED)) {
  test(`the example of ${name}`, async () => {
    const code = examples.find((one) => one.includes(`from '${name}'`));
    assert.ok(code, 'docs/clients.md has no such example');
    assert.equal(await outputOf(code), await printed());
  });
}

test('there are no other examples', () => {
  assert.equal(examples.length, Object.keys(PRINTED).length);
});
