/**
 * `npm run check:install`: packs looplm as it would be published, installs it in an empty project as
 * a user would, and uses it: the command, every export, every type. Needs a package registry.
 *
 * The install is tried in the ways the documentation names and with npm's defaults, which also
 * download GPU libraries from elsewhere on Linux; that one may fail without harm.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const SHELL = process.platform === 'win32';
const scratch = mkdtempSync(join(tmpdir(), 'looplm-install-'));

/** What npm tells its scripts about this repository is not for the empty project. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(package_|lifecycle_|config_(local_prefix|ignore_scripts))/i.test(name),
  ),
);

interface Options {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
}

function run(program: string, args: readonly string[], { cwd, env = {} }: Options): string {
  return execFileSync(program, args, {
    cwd,
    env: { ...environment, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: SHELL,
  });
}

/** Runs a step and prints how it ended; false if it failed. */
function step(name: string, action: () => string): boolean {
  try {
    console.log(`ok      ${name}: ${action()}`);
    return true;
  } catch (error) {
    const { message, stderr } = error as Error & { readonly stderr?: string };
    const lines = (stderr ?? message).trim().split('\n');
    console.log(`failed  ${name}: ${lines.find((line) => /Error:/.test(line)) ?? lines.at(-1)}`);
    return false;
  }
}

const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

function sizeOf(folder: string): number {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + readFileSync(join(parentPath, name)).length, 0);
}

function emptyProject(name: string): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  return folder;
}

function install(name: string, flags: readonly string[], env: Record<string, string> = {}): string {
  const cwd = emptyProject(name);
  run('npm', ['install', tarball, ...flags], { cwd, env });
  return `node_modules has ${megabytes(sizeOf(join(cwd, 'node_modules')))}`;
}

/** A program that imports every export, and as many types as there are. */
function allExports(): string {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, string>;
  };
  const names = Object.keys(exports).filter((subpath) => !subpath.endsWith('.json'));
  const imports = names.map(
    (subpath, index) => `import * as m${index} from 'looplm${subpath.slice(1)}';`,
  );
  const counts = names.map((_, index) => `Object.keys(m${index}).length`);
  return `${imports.join('\n')}\nconsole.log([${counts.join(', ')}].join(' '));\n`;
}

let tarball = '';
const packed = step('pack', () => {
  run('npm', ['pack', '--pack-destination', scratch], { cwd: process.cwd() });
  tarball = join(
    scratch,
    readdirSync(scratch).find((name) => name.endsWith('.tgz'))!,
  );
  return megabytes(readFileSync(tarball).length);
});
const results = [
  packed,
  step('npm install --ignore-scripts', () => install('plain', ['--ignore-scripts'])),
  step('ONNXRUNTIME_NODE_INSTALL=skip npm install', () =>
    install('skip', [], { ONNXRUNTIME_NODE_INSTALL: 'skip' }),
  ),
  step('the command answers', () => {
    const cwd = join(scratch, 'plain');
    const bin = join(cwd, 'node_modules', '.bin', 'looplm');
    return run(bin, ['inspect', '--json'], { cwd }).length > 0 ? 'inspect' : '';
  }),
  step('every export is there', () => {
    const cwd = join(scratch, 'plain');
    writeFileSync(join(cwd, 'all.mts'), allExports());
    writeFileSync(join(cwd, 'all.mjs'), allExports());
    return `names: ${run('node', ['all.mjs'], { cwd }).trim()}`;
  }),
  step('every type resolves', () => {
    const cwd = join(scratch, 'plain');
    run('npm', ['install', '--ignore-scripts', '--save-dev', '@types/node@20'], { cwd });
    const tsc = resolve('node_modules', 'typescript', 'bin', 'tsc');
    const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022'];
    run('node', [tsc, ...flags, '--types', 'node', 'all.mts'], { cwd });
    return 'strict, declarations included';
  }),
];
step('npm install with its defaults', () => install('defaults', []));
rmSync(scratch, { recursive: true });
process.exitCode = results.every(Boolean) ? 0 : 1;
