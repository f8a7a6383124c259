/**
 * `npm run test:clients:python`: evaluators and trainers in Python against `looplm serve`.
 *
 * Installs them into a virtual environment in `.cache/`, once for each state of their list (1.2 GB). Needs
 * Python 3.11 or newer, or the one in LOOPLM_PYTHON. Arguments go to pytest, such as `-- -k trl`.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryPath } from '../repository.js';

const FOLDER = repositoryPath('test/clients/python');
const REQUIREMENTS = join(FOLDER, 'requirements.txt');
const ENVIRONMENT = repositoryPath('.cache/clients-python');
const BINARIES = join(ENVIRONMENT, process.platform === 'win32' ? 'Scripts' : 'bin');
/**
 * Versions of TRL that speak three protocols, each in a folder of its own and without what it depends on:
 * PyTorch, which its client imports and does not need, would be 5 GB.
 */
const TRL_VERSIONS = ['0.24.0', '1.8.0', '1.16.0'];
const TRL = join(ENVIRONMENT, 'trl');
/** Of SkyRL the client alone, too; the package asks for Python 3.12, which its client does not need. */
const SKYRL_VERSION = '0.4.0';
const SKYRL = join(ENVIRONMENT, `skyrl-${SKYRL_VERSION}`);
const SHOWN = ['lm_eval', 'evalplus', 'renderers', 'openai', 'transformers'];

const say = (line: string) => void process.stdout.write(`${line}\n`);

/** Runs a program to its end; throws if it fails. */
function run(program: string, ...args: string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 2, 2] });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${status}.`);
}

/** A Python that is new enough. */
function findPython(): string {
  const { LOOPLM_PYTHON: own } = process.env;
  const names = own === undefined ? ['python3', 'python3.13', 'python3.12', 'python3.11'] : [own];
  const isNew = 'import sys; sys.exit(sys.version_info < (3, 11))';
  const found = names.find((name) => spawnSync(name, ['-c', isNew]).status === 0);
  if (found === undefined) {
    throw new Error(`No Python of at least 3.11 under ${names.join(', ')}; set LOOPLM_PYTHON.`);
  }
  return found;
}

/** What is installed, as it stands in the environment. */
const wanted = () =>
  `${readFileSync(REQUIREMENTS, 'utf8')}trl ${TRL_VERSIONS.join(' ')}\nskyrl ${SKYRL_VERSION}\n`;
const stamp = join(ENVIRONMENT, 'installed.txt');

function install(): void {
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted()) return;
  const python = findPython();
  say(`installing the clients with ${python} into .cache/clients-python; this takes minutes`);
  rmSync(ENVIRONMENT, { recursive: true, force: true });
  mkdirSync(ENVIRONMENT, { recursive: true });
  run(python, '-m', 'venv', ENVIRONMENT);
  const pip = (...args: string[]) =>
    run(join(BINARIES, 'python'), '-m', 'pip', 'install', '--quiet', ...args);
  pip('--requirement', REQUIREMENTS);
  for (const version of TRL_VERSIONS) {
    pip('--no-deps', '--target', join(TRL, `trl-${version}`), `trl==${version}`);
  }
  pip('--no-deps', '--ignore-requires-python', '--target', SKYRL, `skyrl==${SKYRL_VERSION}`);
  writeFileSync(stamp, wanted());
}

install();
const versions = `import sys; from importlib.metadata import version; print('Python', sys.version.split()[0], *(f', {name} {version(name)}' for name in ${JSON.stringify(SHOWN)}), sep=' ')`;
const { stdout } = spawnSync(join(BINARIES, 'python'), ['-c', versions], { encoding: 'utf8' });
const trl = readdirSync(TRL).map((name) => name.replace('-', ' '));
say(
  `${[stdout.trim().replaceAll(' ,', ','), ...trl].join(', ')}, skyrl ${SKYRL_VERSION}, server on Node ${process.version}`,
);
const { status } = spawnSync(
  join(BINARIES, 'python'),
  ['-m', 'pytest', '-v', '-rs', '-p', 'no:cacheprovider', FOLDER, ...process.argv.slice(2)],
  {
    stdio: 'inherit',
    cwd: FOLDER,
    env: {
      ...process.env,
      LOOPLM_NODE: process.execPath,
      LOOPLM_TRL: TRL,
      LOOPLM_SKYRL: SKYRL,
      PYTHONDONTWRITEBYTECODE: '1',
    },
  },
);
process.exitCode = status ?? 1;
