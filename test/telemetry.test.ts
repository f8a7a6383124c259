/**
 * A program that uses looplm tells nobody: no trace in the user's folders, no look at the machine id
 * or the command line, no name looked up, no connection. In child processes, as compiled, without the
 * variables by which ONNX Runtime recognises a test machine.
 */
import { execFile, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';

const built = (path: string) => new URL(`../dist/src/${path}`, import.meta.url);
if (!existsSync(built('index.js'))) throw new Error('dist/ is missing: run `npm run build` first.');
const MAIN = fileURLToPath(built('cli/main.js'));
const TINY = fileURLToPath(new URL('fixtures/tiny-mha', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'looplm-telemetry-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const modulesAt = (path: string) => JSON.stringify(built(path).href);
const LOAD = `
  const { LoopLM } = await import(${modulesAt('index.js')});
  const model = await LoopLM.fromPretrained(${JSON.stringify(TINY)});`;
const LIBRARY = `${LOAD}
  await model.complete([1, 2, 3], { maxNewTokens: 2 });
  await model.dispose();`;
const INLINE = `
  const { createInlineDevice } = await import(${modulesAt('runtime/index.js')});
  await (await createInlineDevice()).dispose();`;

/** A program whose main thread knows nothing of looplm. `prelude` is its first line. */
const inOwnWorker = (script: string, prelude = '') => `
  import { Worker } from 'node:worker_threads';
  ${prelude}
  new Worker(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(script)}`)}));`;

const script = (text: string) => ['--input-type=module', '--eval', text];

const PROGRAMS: readonly [what: string, argv: readonly string[]][] = [
  [
    'looplm generate',
    [
      MAIN,
      'generate',
      '--prompt',
      'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?',
    ],
  ],
  ['a program', script(LIBRARY)],
  ['a program on an inline device', script(INLINE)],
  ['a program that loads a model in a worker thread of its own', script(inOwnWorker(LIBRARY))],
  ['an inline device in a worker thread', script(inOwnWorker(INLINE))],
  [
    'a worker thread while its main thread computes',
    script(inOwnWorker(LIBRARY, 'setImmediate(() => { for (let i = 0; i < 1e9; i++); });')),
  ],
];

/** The folders that a program may think are its user's, all empty. */
function emptyHome(): { readonly home: string; readonly env: Record<string, string> } {
  const home = mkdtempSync(join(folder, 'home-'));
  const env: Record<string, string> = { PATH: process.env['PATH'] ?? '', HOME: home };
  const names = ['TMPDIR', 'TMP', 'TEMP', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME'];
  for (const name of [...names, 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR']) {
    env[name] = join(home, name);
    mkdirSync(env[name]);
  }
  return { home, env };
}

const filesIn = (home: string) =>
  readdirSync(home, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name);

describe.each(PROGRAMS)('%s', (_, argv) => {
  test('leaves no file behind', async () => {
    const { home, env } = emptyHome();
    await promisify(execFile)(process.execPath, argv, { env, cwd: home });
    expect(filesIn(home)).toEqual([]);
  });

  test('looks nothing up and talks to nobody', async (context) => {
    if (spawnSync('strace', ['-V']).error) {
      context.skip('strace is not installed, so system calls cannot be traced');
    }
    const { home, env } = emptyHome();
    const log = join(folder, 'strace.log');
    const calls = 'trace=%file,%network';
    const flags = ['-f', '--seccomp-bpf', '-s', '256', '-e', calls, '-o', log];
    await promisify(execFile)('strace', [...flags, process.execPath, ...argv], { env, cwd: home });
    const lines = readFileSync(log, 'utf8').split('\n');
    expect(lines.some((line) => line.includes('libonnxruntime'))).toBe(true);
    expect(lines.filter((line) => FORBIDDEN.some((pattern) => pattern.test(line)))).toEqual([]);
    expect(filesIn(home)).toEqual([]);
  });
});

const FORBIDDEN = [
  /machine-id/,
  /"\/proc\/(self|thread-self|\d+)\/(cmdline|environ)"/,
  /"\/etc\/(resolv\.conf|hosts|host\.conf|gai\.conf|nsswitch\.conf)"/,
  /connect\((?!.*sa_family=AF_UNIX)/,
  /send(to|msg|mmsg)\(.*sa_family=AF_INET/,
  /open(at|at2)?\(.*O_(WRONLY|RDWR|CREAT).*(?<!"\/dev\/(null|tty)", .*)$/,
];

test('a worker thread that cannot reach its main thread refuses, and says what to do', async () => {
  const { home, env } = emptyHome();
  const caught = `try { ${LOAD} } catch (error) { console.log(error.code, error.message); }`;
  const permissions = ['--experimental-permission', '--allow-worker', '--allow-fs-read=*'];
  const flags = [...permissions, '--allow-addons', '--no-warnings', ...script(inOwnWorker(caught))];
  const { stdout } = await promisify(execFile)(process.execPath, flags, { env, cwd: home });
  expect(stdout).toMatch(/^unsupported .*main thread.*ORT_DISABLE_TELEMETRY=1\.\n$/);
  expect(filesIn(home)).toEqual([]);
  const remedied = { env: { ...env, ORT_DISABLE_TELEMETRY: '1' }, cwd: home };
  expect((await promisify(execFile)(process.execPath, flags, remedied)).stdout).toBe('');
});

describe.each([13_000, 20_000, 50_000, 100_000])('an argument of %i characters', (length) => {
  const text = 'x'.repeat(length);

  test('is answered by looplm generate', () => {
    const { env } = emptyHome();
    const run = spawnSync(process.execPath, [MAIN, 'generate', '--prompt', text], { env });
    expect(run.signal).toBeNull();
    expect(run.status).toBe(2);
    expect(run.stderr.toString()).toMatch(
      new RegExp(`^error: The prompt has ${length} tokens; .*\\n$`),
    );
  });

  test('does not disturb a program that uses the library', () => {
    const { home, env } = emptyHome();
    const program = join(home, 'program.mjs');
    writeFileSync(program, `${LIBRARY} console.log(process.argv[2].length);`);
    const run = spawnSync(process.execPath, [program, text], { env });
    expect([run.signal, run.stderr.toString()]).toEqual([null, '']);
    expect(run.stdout.toString()).toBe(`${length}\n`);
  });
});
