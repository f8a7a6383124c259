/**
 * The few calls of node-llama-cpp that the benchmark makes, and where the package lies.
 *
 * It is installed in this folder's own node_modules, so it is imported by path and the types are
 * written down here: the root neither installs nor type-checks it.
 * Source: node-llama-cpp 3.22, dist/index.d.ts.
 */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fileExists } from 'looplm/node';

const FOLDER = resolve('benchmarks', 'llama-cpp');
const PACKAGE = resolve(FOLDER, 'node_modules', 'node-llama-cpp');

/** Installs the package where it is not. */
export async function installLlama(): Promise<void> {
  if (await fileExists(PACKAGE)) return;
  execFileSync('npm', ['ci', '--prefix', FOLDER], { stdio: ['ignore', 2, 2] });
}

/** A token with a wish for what follows: `{ generateNext: { token: true } }` computes the logits. */
type EvaluatedToken =
  | number
  | readonly [
      token: number,
      options: {
        readonly generateNext: { readonly token: true; readonly confidence?: boolean };
      },
    ];

export interface LlamaSequence {
  readonly nextTokenIndex: number;
  evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>;
  controlledEvaluate(
    tokens: readonly EvaluatedToken[],
  ): Promise<readonly ({ readonly next: { token?: number; confidence?: number } } | undefined)[]>;
  eraseContextTokenRanges(ranges: readonly { start: number; end: number }[]): Promise<void>;
}

/** Forgets the positions from `start` on. */
export async function erase(sequence: LlamaSequence, start: number): Promise<void> {
  const end = sequence.nextTokenIndex;
  if (end > start) await sequence.eraseContextTokenRanges([{ start, end }]);
}

/** Runs `tokens`, the last one with the head. */
export async function evaluate(sequence: LlamaSequence, tokens: readonly number[]): Promise<void> {
  await evaluateNext(sequence, tokens);
}

/** As `evaluate`, and gives the best token after them. */
export async function evaluateNext(
  sequence: LlamaSequence,
  tokens: readonly number[],
): Promise<number> {
  const last = [tokens.at(-1)!, { generateNext: { token: true } }] as const;
  const results = await sequence.controlledEvaluate([...tokens.slice(0, -1), last]);
  const token = results.at(-1)?.next.token;
  if (token === undefined) throw new Error('llama.cpp gave no token');
  return token;
}

interface LlamaContext {
  getSequence(): LlamaSequence;
}

interface LlamaModel {
  createContext(options: {
    readonly contextSize: number;
    readonly batchSize: number;
    /** Default 1. */
    readonly sequences?: number;
    readonly flashAttention: boolean;
    readonly experimentalKvCacheKeyType?: 'F16' | 'Q8_0';
    readonly experimentalKvCacheValueType?: 'F16' | 'Q8_0';
    readonly threads: { readonly ideal: number; readonly min: number };
  }): Promise<LlamaContext>;
}

interface Llama {
  readonly systemInfo: string;
  loadModel(options: { readonly modelPath: string; readonly gpuLayers: 0 }): Promise<LlamaModel>;
}

interface Module {
  getLlama(options: {
    readonly gpu: false;
    readonly build: 'never';
    readonly maxThreads: number;
    readonly logLevel: string;
    readonly logger: (level: string, message: string) => void;
  }): Promise<Llama>;
}

export interface LoadedLlama {
  readonly llama: Llama;
  /** The library of the processor's variant that llama.cpp chose, such as `libggml-cpu-zen4.so`. */
  readonly backend: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Loads the prebuilt llama.cpp for the processor. */
export async function loadLlama(numThreads: number): Promise<LoadedLlama> {
  const { getLlama } = (await import(
    pathToFileURL(resolve(PACKAGE, 'dist', 'index.js')).href
  )) as Module;
  let backend = 'unknown';
  const logger = (_level: string, message: string) => {
    backend = /loaded CPU backend from .*?([\w.-]+)\s*$/m.exec(message)?.[1] ?? backend;
  };
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    maxThreads: numThreads,
    logLevel: 'log',
    logger,
  });
  const read = async (file: string) =>
    JSON.parse(await readFile(resolve(PACKAGE, file), 'utf8')) as Record<string, string>;
  const versions = {
    'node-llama-cpp': (await read('package.json'))['version']!,
    'llama.cpp': (await read('llama/binariesGithubRelease.json'))['release']!,
  };
  return { llama, backend, versions };
}
