/**
 * A Python that has PyTorch: the one of `LOOPLM_BENCH_PYTHON`, or a virtual environment in `.cache` that
 * is made at first use with the release below from PyPI.
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const TORCH = '2.15.0';
const ENVIRONMENT = resolve('.cache', `torch-${TORCH}`);

const succeeds = (program: string, ...args: readonly string[]) =>
  spawnSync(program, args, { stdio: ['ignore', 2, 2] }).status === 0;
const hasTorch = (python: string) =>
  spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0;

/** @throws Error that says what to install */
export function pythonWithTorch(): string {
  const own = process.env['LOOPLM_BENCH_PYTHON'];
  if (own !== undefined) {
    if (hasTorch(own)) return own;
    throw new Error(`LOOPLM_BENCH_PYTHON is ${own}, which cannot import torch.`);
  }
  const python = join(ENVIRONMENT, 'bin', 'python');
  if (hasTorch(python)) return python;
  process.stderr.write(`installing PyTorch ${TORCH} into ${ENVIRONMENT}: 5.5 GB, minutes\n`);
  const isReady =
    succeeds('python3', '-m', 'venv', ENVIRONMENT) &&
    succeeds(python, '-m', 'pip', 'install', '--quiet', `torch==${TORCH}`) &&
    hasTorch(python);
  if (isReady) return python;
  throw new Error(
    `PyTorch ${TORCH} could not be installed: it needs python3 with venv and a registry of packages. Install it yourself and set LOOPLM_BENCH_PYTHON to that Python.`,
  );
}
