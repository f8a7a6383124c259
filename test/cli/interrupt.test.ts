/**
 * Ctrl-C at any moment of loading, converting and tracing: code 130, not a word of a stack, and
 * nothing left behind but what is documented to be continued. Real processes get real signals; only
 * outcomes are tested, not times.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { generatorFor } from '../../src/util/random.js';
import { MAIN, MIDDLE, runNode, weightsOf, writeRandomCheckpoint } from '../convert/support.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const model = join(folder, 'model');
/** 16 MB in bf16: some tenths of a second to convert, to load and to trace. */
const CONFIG = {
  ...MIDDLE,
  hiddenSize: 256,
  intermediateSize: 704,
  numHiddenLayers: 8,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  vocabSize: 4096,
};
beforeAll(() => writeRandomCheckpoint(model, CONFIG, { seed: 3 }));

const ids = Array.from({ length: 300 }, (_, position) => 1 + (position % 50)).join(',');
const outputs = (name: string) => {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  return path;
};

interface Ended {
  /** As a shell says it. */
  readonly exitCode: number | string;
  readonly stderr: string;
}

/** Runs a command line and sends it signals, each so long after the one before. */
function signalled(
  argv: readonly string[],
  signals: readonly { readonly name: NodeJS.Signals; readonly afterMs: number }[],
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...argv], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('error', reject);
    let at = 0;
    for (const { name, afterMs } of signals) setTimeout(() => child.kill(name), (at += afterMs));
    child.on('close', (code, signal) => {
      // a process that ends by the signal has 130 (143) in a shell, as one that says so itself
      const ofSignal = signal === 'SIGINT' || signal === 'SIGTERM' ? 130 : String(signal);
      resolve({ exitCode: code ?? ofSignal, stderr });
    });
  });
}

function expectQuietEnd({ exitCode, stderr }: Ended): void {
  expect([exitCode, stderr]).toEqual([
    130,
    expect.not.stringMatching(/^\s+at |[Ee]rror|terminate called|bug/m),
  ]);
}

/** How long a command takes undisturbed, to choose moments by. */
async function durationOf(argv: readonly string[]): Promise<number> {
  const start = performance.now();
  const { exitCode, stderr } = await runNode([MAIN, ...argv]);
  expect([exitCode, stderr]).toEqual([0, expect.anything()]);
  return performance.now() - start;
}

function momentsWithin(durationMs: number, seed: number, count: number): number[] {
  const rng = generatorFor(seed);
  return Array.from({ length: count }, () => durationMs * (0.05 + 0.8 * uniformFloat64(rng)));
}

/**
 * Moments are those of a short command, and what is interrupted is a long one that begins in the same
 * way: it cannot have ended by itself.
 */
describe('Ctrl-C', () => {
  const generate = ['generate', '--model', model, '--ids', '1,2', '--ignore-eos'];
  const trace = ['trace', '--model', model, '--ids', ids];
  const longTrace = (out: string) => [...trace, '--num-loops', '64', '--out', out];

  it('while a model is loaded', async () => {
    const durationMs = await durationOf([...generate, '--max-new-tokens', '1']);
    for (const afterMs of momentsWithin(durationMs, 11, 5)) {
      const argv = [...generate, '--max-new-tokens', '900'];
      expectQuietEnd(await signalled(argv, [{ name: 'SIGINT', afterMs }]));
    }
  });

  it('while a prompt is traced', async () => {
    const out = outputs('traces');
    const durationMs = await durationOf([...trace, '--out', join(folder, 'whole.safetensors')]);
    for (const afterMs of momentsWithin(durationMs, 12, 5)) {
      const argv = longTrace(join(out, 'trace.safetensors'));
      expectQuietEnd(await signalled(argv, [{ name: 'SIGINT', afterMs }]));
      expect(readdirSync(out)).toEqual([]);
    }
  });

  it('while a checkpoint is converted, which the next run continues', async () => {
    const argv = (target: string) => ['convert', model, '--dtype', 'q4', '--out', target];
    const whole = join(folder, 'whole');
    const durationMs = await durationOf(argv(whole));
    const target = join(outputs('conversions'), 'cut');
    for (const afterMs of momentsWithin(durationMs, 13, 4)) {
      const ended = await signalled(argv(target), [{ name: 'SIGINT', afterMs }]);
      if (ended.exitCode === 0) break;
      expectQuietEnd(ended);
      // it is there at once and whole, or not at all: Ctrl-C may come just after
      if (existsSync(target)) expect(weightsOf(target)).toBe(weightsOf(whole));
    }
    expect((await runNode([MAIN, ...argv(target)])).exitCode).toBe(0);
    expect(weightsOf(target)).toBe(weightsOf(whole));
    expect(readdirSync(join(folder, 'conversions'))).toEqual(['cut']);
  });

  it('while questions are drawn, before any is measured', async () => {
    const durationMs = await durationOf(['eval', '--questions', '1']);
    for (const afterMs of [0.9 * durationMs, durationMs]) {
      const ended = await signalled(['eval', '--questions', '2000'], [{ name: 'SIGINT', afterMs }]);
      expectQuietEnd(ended);
      expect(ended.stderr).not.toContain('evaluating');
    }
  });

  it('twice, and the polite request to end', async () => {
    const out = join(outputs('twice'), 'trace.safetensors');
    const durationMs = await durationOf([...trace, '--out', join(folder, 'whole.safetensors')]);
    const [afterMs] = momentsWithin(durationMs, 14, 1) as [number];
    const twice = [
      { name: 'SIGINT', afterMs },
      { name: 'SIGINT', afterMs: 20 },
    ] as const;
    for (const signals of [twice, [{ name: 'SIGTERM', afterMs }] as const]) {
      expectQuietEnd(await signalled(longTrace(out), signals));
    }
  });
});
