/**
 * `npm run test:clients`: the real JavaScript clients against `looplm serve`.
 *
 * Installs them into this folder where they are missing, with a newer Node for them, which the root does not need.
 * Arguments go to Node's test runner, such as `-- --test-name-pattern=abort`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryPath } from '../repository.js';

const FOLDER = repositoryPath('test/clients');
const CLIENTS = ['openai', 'ai', '@ai-sdk/openai', '@ai-sdk/openai-compatible'];
const OLDEST_NODE = 22;

const say = (line: string) => void process.stdout.write(`${line}\n`);
const inModules = (...path: string[]) => join(FOLDER, 'node_modules', ...path);

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}
const readManifest = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Manifest;
const versionOf = (name: string) => {
  const path = inModules(name, 'package.json');
  return existsSync(path) ? readManifest(path).version : undefined;
};

/** Installs what is not there in the versions of the package file. */
function install(): void {
  const { dependencies } = readManifest(join(FOLDER, 'package.json'));
  if (CLIENTS.every((name) => versionOf(name) === dependencies[name])) return;
  say('installing the clients into test/clients/node_modules');
  // npm warns that they need a newer Node, which they get
  const args = ['ci', '--prefix', FOLDER, '--ignore-scripts', '--loglevel', 'error'];
  execFileSync('npm', args, { stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
}

/** The Node that runs this if the clients take it, or else the one that was installed with them. */
function newNode(): string {
  if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) return process.execPath;
  const programs = readdirSync(inModules())
    .filter((name) => name.startsWith('node-'))
    .flatMap((name) => [inModules(name, 'bin', 'node'), inModules(name, 'bin', 'node.exe')]);
  const found = programs.find((path) => existsSync(path));
  if (found === undefined) {
    throw new Error(
      `The clients need Node ${OLDEST_NODE}, this is ${process.version}, and no newer one is packaged for ${process.platform} on ${process.arch}.`,
    );
  }
  return found;
}

install();
const node = newNode();
const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
say(
  [
    ...CLIENTS.map((name) => `${name} ${versionOf(name)}`),
    `Node ${version}`,
    `server on Node ${process.version}`,
  ].join(', '),
);
const { status } = spawnSync(
  node,
  [
    '--test',
    '--test-reporter=spec',
    '--test-timeout=120000',
    // hooks that end a server are left out where a pattern selects none of their tests
    '--test-force-exit',
    ...process.argv.slice(2),
    join(FOLDER, 'javascript', '*.test.mjs'),
  ],
  { stdio: 'inherit', env: { ...process.env, LOOPLM_NODE: process.execPath } },
);
process.exitCode = status ?? 1;
