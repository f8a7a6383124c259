/** The estimate of what training takes, against what a process has taken when it is done. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';
import { trainingMemory } from '../../src/train/index.js';
import { RUN_CONFIG } from './tiny-run.js';

const dist = (path: string) => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);
const MODEL = {
  ...RUN_CONFIG.model,
  hiddenSize: 64,
  intermediateSize: 192,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  headDim: 32,
  vocabSize: 2000,
  maxPositionEmbeddings: 128,
  initializerRange: 0.02,
};

/** Peak of the resident size, in bytes, of a process that trains for two train steps. */
function measure(rows: number, length: number, recompute: 'none' | 'loop'): number {
  const config = { ...RUN_CONFIG, model: MODEL, trainSteps: 2, recompute, accumulate: 1 };
  const script = `
    const { runTiny } = await import(${dist('test/train/tiny-run.js')});
    const { initializeWeights, memoryFolder } = await import(${dist('src/model/index.js')});
    const { generatedSource } = await import(${dist('src/data/index.js')});
    const ids = Array.from({ length: ${length} }, (_, index) => index % 50);
    const source = generatedSource({
      documents: () => ({ ids, targets: ids }), rows: ${rows}, length: ${length}, seed: 0 });
    const config = ${JSON.stringify(config)};
    await runTiny({ folder: memoryFolder('x', new Map()), config, source,
      weights: initializeWeights(config.model, 0) });
    process.stdout.write(String(process.resourceUsage().maxRSS));`;
  const argv = ['--input-type=module', '-e', script];
  const cwd = fileURLToPath(new URL('../..', import.meta.url));
  return 1024 * Number(spawnSync(process.execPath, argv, { encoding: 'utf8', cwd }).stdout);
}

it.each([
  [32, 128, 'none'],
  [32, 128, 'loop'],
] as const)('%i rows of %i tokens, recompute %s: within a fifth', (rows, length, recompute) => {
  const { objective, optimizer } = RUN_CONFIG;
  const needed = trainingMemory(MODEL, { rows, length, recompute, objective, optimizer });
  const ratio = needed.totalBytes / measure(rows, length, recompute);
  expect(ratio).toBeGreaterThan(0.8);
  expect(ratio).toBeLessThan(1.25);
});

describe('the estimate', () => {
  const SIZE = { rows: 2, length: 512, objective: RUN_CONFIG.objective };
  const settings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };
  const bytes = (more: Partial<Parameters<typeof trainingMemory>[1]>) =>
    trainingMemory(MODEL, { ...SIZE, optimizer: settings, ...more });

  it('knows what an optimizer keeps, and averages', () => {
    const { stateBytes } = bytes({});
    const muon = { ...settings, kind: 'muon', momentum: 0.95, iterations: 5 } as const;
    expect(bytes({ optimizer: muon }).stateBytes).toBeLessThan(stateBytes);
    const averaged = { ...settings, averageDecay: 0.99 };
    expect(bytes({ optimizer: averaged }).stateBytes).toBeGreaterThan(stateBytes);
  });

  it('keeps one layer in one loop where nothing goes back through layers', () => {
    const more = { ...MODEL, numHiddenLayers: 8, numLoops: 8 };
    const options = { ...SIZE, optimizer: settings, trained: 'gate' } as const;
    const { batchBytes } = trainingMemory(more, options);
    expect(batchBytes).toBe(bytes({ trained: 'gate' }).batchBytes);
    expect(batchBytes).toBeLessThan(0.1 * bytes({}).batchBytes);
  });

  it('grows with the length where it is large, not with its square', () => {
    const at = (length: number) => bytes({ rows: 1, length }).batchBytes;
    // Logits have their size already: twice the length more takes twice as much more.
    const ratio = (at(32_768) - at(16_384)) / (at(16_384) - at(8192));
    expect(ratio).toBeLessThan(2.1);
    expect(ratio).toBeGreaterThan(1.9);
  });

  it('knows the chunks of logits', () => {
    const large = { ...MODEL, vocabSize: 49_152 };
    const needed = trainingMemory(large, { ...SIZE, rows: 4, optimizer: settings });
    const all = 4 * 4 * SIZE.length * large.vocabSize * large.numLoops;
    expect(needed.batchBytes).toBeLessThan(all);
  });
});
