/**
 * Converts in child processes and in this one, as compiled, since worker threads exist only there.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import type { LoopLMConfig } from '../../src/model/index.js';
import type * as Platform from '../../src/platform/node/index.js';

const entry = new URL('../../dist/src/platform/node/index.js', import.meta.url);
if (!existsSync(entry)) throw new Error('dist/ is missing: run `npm run build` first.');
const node = (await import(entry.href)) as typeof Platform;

export const { convertModel, convertedFolder, writeRandomCheckpoint } = node;
/** Address of the compiled platform, for scripts in child processes. */
export const NODE_ENTRY = entry.href;

const repositoryPath = (path: string): string =>
  fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const FIXTURES = ['tiny-mha', 'tiny-gqa-tied'] as const;
export const fixturePath = (name: (typeof FIXTURES)[number]): string =>
  repositoryPath(`test/fixtures/${name}`);

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'looplm-convert-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Checksum of the weight file of a folder. */
export const weightsOf = (folder: string): string =>
  createHash('sha256')
    .update(readFileSync(join(folder, 'model.safetensors')))
    .digest('hex');

/** About 190 MB in bf16; the largest tensor is 17 MB. */
export const MIDDLE: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 1024,
  intermediateSize: 2816,
  numHiddenLayers: 6,
  numAttentionHeads: 8,
  numKeyValueHeads: 8,
  headDim: 128,
  vocabSize: 8192,
  ropeTheta: 1e6,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 1024,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 1,
  initializerRange: 0.02,
  eosTokenIds: [0],
};

export interface ChildResult {
  /** Null if it was killed. */
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a program of Node to its end.
 *
 * @param onStderr - called whenever it wrote something there.
 */
export function runNode(
  argv: readonly string[],
  onStderr: () => void = () => {},
): Promise<ChildResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      onStderr();
    });
    child.on('error', reject);
    child.on('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}

/** The command line. */
export const MAIN = repositoryPath('dist/src/cli/main.js');
