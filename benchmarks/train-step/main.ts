/**
 * One training step of looplm against PyTorch: same model, same weights, same batch, same threads,
 * alternating rounds. `npm run bench:train-step` (needs /usr/bin/python3 with torch, Debian's
 * python3-torch).
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { TrainingBatch } from 'looplm/data';
import { generatorFor } from 'looplm/data';
import { elementCount, initializeWeights, parameterSpecs, saveCheckpoint } from 'looplm/model';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { TrainState } from 'looplm/train';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import type { Variant } from '../lib/harness.js';
import { benchmarkConfig } from '../lib/models.js';
import { alternate, median, medianRatio, provenance, writeResult } from '../lib/harness.js';

const THREADS = 2;
const ROUNDS = 7;
const STEPS_PER_ROUND = 2;
const SEED = 1;
const BETA = 0.1;
const LEARNING_RATE = 1e-3;
/** Of one loss in 1,000 the two float32 sides may differ; more means they do not do the same work. */
const LOSS_TOLERANCE = 1e-3;

const CASES = [
  {
    name: '4 layers x 4 loops',
    rows: 8,
    length: 256,
    config: benchmarkConfig({
      hiddenSize: 256,
      intermediateSize: 704,
      numHiddenLayers: 4,
      numAttentionHeads: 4,
      vocabSize: 4096,
    }),
  },
  {
    name: '3 layers x 4 loops',
    rows: 16,
    length: 128,
    config: benchmarkConfig({
      hiddenSize: 128,
      intermediateSize: 384,
      numHiddenLayers: 3,
      numAttentionHeads: 4,
      vocabSize: 512,
    }),
  },
] as const;

/**
 * Debian's torch computes with the BLAS that the system offers. This one shares torch's threads and
 * was the fastest measured (libopenblas0-openmp); the reference BLAS is some 30 times slower.
 */
const OPENBLAS = '/usr/lib/x86_64-linux-gnu/openblas-openmp';

/** The PyTorch side: a process that trains on request (torch_step.py). */
class TorchPeer {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const script = resolve('benchmarks', 'train-step', 'torch_step.py');
    const env = existsSync(OPENBLAS) ? { ...process.env, LD_LIBRARY_PATH: OPENBLAS } : process.env;
    this.#process = spawn('/usr/bin/python3', [script], { env });
    this.#process.stderr.pipe(process.stderr);
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async ask<T>(message: object): Promise<T> {
    this.#process.stdin.write(`${JSON.stringify(message)}\n`);
    const next = await this.#lines.next();
    if (next.done) throw new Error('the PyTorch process ended; see its message above');
    return JSON.parse(next.value) as T;
  }

  quit(): void {
    this.#process.stdin.write('{"quit": true}\n');
  }
}

function randomBatch(rows: number, length: number, vocabSize: number): TrainingBatch {
  const rng = generatorFor(SEED, rows, length);
  const draw = () =>
    Int32Array.from({ length: rows * length }, () => uniformInt(rng, 0, vocabSize - 1));
  return {
    rows,
    length,
    ids: draw(),
    targets: draw(),
    segments: new Int32Array(rows * length).fill(1),
    positions: Int32Array.from({ length: rows * length }, (_, index) => index % length),
  };
}

async function measureCase({ name, rows, length, config }: (typeof CASES)[number]) {
  const weights = initializeWeights(config, SEED, { matrixStd: 'fanIn', embeddingStd: 1 });
  const folder = await mkdtemp(join(tmpdir(), 'looplm-bench-'));
  await saveCheckpoint(nodeFolder(folder), config, weights, { dtype: 'f32' });
  const batch = randomBatch(rows, length, config.vocabSize);

  const device = await createNodeDevice({ numThreads: THREADS });
  const state = await TrainState.create({
    device,
    config,
    rows,
    length,
    objective: { kind: 'stage-1', beta: BETA },
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
    recompute: 'none',
    weights,
  });
  let trainStep = 0;
  const losses: Record<string, number[]> = {};
  const looplm: Variant = {
    name: 'looplm f32',
    async measure() {
      const start = performance.now();
      for (let n = 0; n < STEPS_PER_ROUND; n++) {
        const { loss } = await state.update([batch], trainStep++, LEARNING_RATE);
        (losses['looplm f32'] ??= []).push(loss);
      }
      return (performance.now() - start) / 1000 / STEPS_PER_ROUND;
    },
  };
  const peers: TorchPeer[] = [];
  let torchVersion = '';
  const torch = async (dtype: 'f32' | 'bf16'): Promise<Variant> => {
    const peer = new TorchPeer();
    peers.push(peer);
    const { torch: version, blas } = await peer.ask<{ torch: string; blas: string }>({
      config,
      rows,
      length,
      dtype,
      threads: THREADS,
      seed: SEED,
      beta: BETA,
      checkpoint: join(folder, 'model.safetensors'),
    });
    if (blas === 'reference') {
      throw new Error('PyTorch runs on the reference BLAS; install libopenblas0-openmp first.');
    }
    torchVersion = `${version} with ${blas.split(' ', 2).join(' ')}`;
    const variantName = `PyTorch ${dtype}`;
    return {
      name: variantName,
      async measure() {
        const reply = await peer.ask<{ seconds: number[]; losses: number[] }>({
          trainSteps: STEPS_PER_ROUND,
          ids: [...batch.ids],
          targets: [...batch.targets],
        });
        (losses[variantName] ??= []).push(...reply.losses);
        return reply.seconds.reduce((sum, value) => sum + value, 0) / STEPS_PER_ROUND;
      },
    };
  };
  const variants = [looplm, await torch('f32'), await torch('bf16')];
  for (const { measure } of variants) await measure(); // warm-up, not counted
  const raw = await alternate(variants, ROUNDS);
  for (const peer of peers) peer.quit();
  await state.dispose();
  await device.dispose();
  checkSameWork(losses['looplm f32']!, losses['PyTorch f32']!);

  const tokens = rows * length;
  const parameters = parameterSpecs(config).reduce(
    (n, { shape: dims }) => n + elementCount(dims),
    0,
  );
  const seconds = (variant: string) => median(raw[variant]!);
  return {
    torchVersion,
    entry: {
      name,
      parameters,
      tokensPerStep: tokens,
      secondsPerStep: Object.fromEntries(variants.map((v) => [v.name, seconds(v.name)])),
      tokensPerSecond: Object.fromEntries(variants.map((v) => [v.name, tokens / seconds(v.name)])),
      speedOverPyTorch: {
        f32: medianRatio(raw['PyTorch f32']!, raw['looplm f32']!),
        bf16: medianRatio(raw['PyTorch bf16']!, raw['looplm f32']!),
      },
      lossesCompared: Math.min(losses['looplm f32']!.length, losses['PyTorch f32']!.length),
      raw,
    },
  };
}

function checkSameWork(ours: readonly number[], theirs: readonly number[]): void {
  ours.forEach((loss, index) => {
    if (Math.abs(loss - theirs[index]!) > LOSS_TOLERANCE * Math.abs(loss)) {
      throw new Error(
        `step ${index + 1}: looplm's loss is ${loss}, PyTorch's ${theirs[index]}; the two sides do not do the same work`,
      );
    }
  });
}

const measured = [];
for (const entry of CASES) measured.push(await measureCase(entry));
await writeResult('train-step', {
  title: 'Training step: looplm against PyTorch',
  settings: { threads: THREADS, rounds: ROUNDS, stepsPerRound: STEPS_PER_ROUND, seed: SEED },
  ...provenance({ torch: measured[0]!.torchVersion }),
  cases: measured.map(({ entry }) => entry),
});
for (const { entry } of measured) {
  process.stdout.write(
    `${entry.name}: ${entry.speedOverPyTorch.f32.toFixed(2)} x PyTorch f32, ${entry.speedOverPyTorch.bf16.toFixed(2)} x PyTorch bf16\n`,
  );
}
