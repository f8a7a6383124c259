/**
 * One training step of looplm against PyTorch: same model, same weights, same batch, same threads,
 * same allocators, alternating rounds. `npm run bench:train-step -- [--rounds N] [--json FILE]`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generatorFor } from 'looplm/data';
import { initializeWeights, modelCost, saveCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { readRounds } from '../lib/flags.js';
import type { Variant } from '../lib/harness.js';
import { alternate, provenance, writeResult } from '../lib/harness.js';
import { benchmarkConfig } from '../lib/models.js';
import type { Roofs } from '../lib/roofs.js';
import { openRoofs, PRODUCT_SIZE } from '../lib/roofs.js';
import { checkLosses } from './losses.js';
import type { Allocator } from './peer.js';
import { ALLOCATORS, LOOPLM_COMMAND, Peer, torchCommand } from './peer.js';
import type { Setup } from './protocol.js';
import { pythonWithTorch } from './python.js';
import { summarizeCase, trainStepText } from './report.js';

const THREADS = 2;
const ROUNDS = 9;
const STEPS_PER_ROUND = 2;
const SEED = 1;
const BETA = 0.1;

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

type Case = (typeof CASES)[number];

/** The sides in all their settings; the name of the library and of its numbers. */
const SIDES = [
  { name: 'looplm f32', dtype: 'f32', isTorch: false },
  { name: 'PyTorch f32', dtype: 'f32', isTorch: true },
  { name: 'PyTorch bf16', dtype: 'bf16', isTorch: true },
] as const;

const python = pythonWithTorch();

/** Floating point operations of a step: forward with a readout after every loop, twice that backward. */
function stepFlops({ rows, length, config }: Case): number {
  // A token sees half the others on average; the other half is masked, and nobody's work.
  const context = length / 2;
  const cost = modelCost(config, { context, weights: 'f32', cacheDtype: 'f32' });
  return 3 * rows * length * config.numLoops * (cost.flopsPerLoop + cost.flopsPerReadout);
}

async function measureCase(example: Case, roofs: Roofs, rounds: number, folder: string) {
  const { rows, length, config } = example;
  const rng = generatorFor(SEED, rows, length);
  const draw = () =>
    Array.from({ length: rows * length }, () => uniformInt(rng, 0, config.vocabSize - 1));
  const batch = { ids: draw(), targets: draw() };
  const setup = {
    config,
    rows,
    length,
    threads: THREADS,
    beta: BETA,
    seed: SEED,
    checkpoint: join(folder, 'model.safetensors'),
  } satisfies Omit<Setup, 'dtype'>;
  const weights = initializeWeights(config, SEED, { matrixStd: 'fanIn', embeddingStd: 1 });
  await saveCheckpoint(nodeFolder(folder), config, weights, { dtype: 'f32' });

  const peers: Peer[] = [];
  const variants: Variant[] = [];
  const losses: Record<string, number[]> = {};
  let versions: Readonly<Record<string, string>> = {};
  for (const allocator of Object.keys(ALLOCATORS) as Allocator[]) {
    for (const { name: side, dtype, isTorch } of SIDES) {
      const name = `${side}, ${allocator}`;
      const command = isTorch ? torchCommand(python) : LOOPLM_COMMAND;
      const { peer, ready } = await Peer.start(name, command, allocator, { ...setup, dtype });
      versions = { ...versions, ...ready.versions };
      peers.push(peer);
      losses[name] = [];
      variants.push({
        name,
        async measure() {
          const steps = await peer.train({ trainSteps: STEPS_PER_ROUND, ...batch });
          losses[name]!.push(...steps.losses);
          return steps.seconds.reduce((sum, value) => sum + value, 0) / STEPS_PER_ROUND;
        },
      });
      if (isTorch && allocator === 'default') {
        variants.push({
          name: `products, ${side}`,
          measure: () => peer.productGflops(PRODUCT_SIZE),
        });
      }
    }
  }
  for (const { measure } of variants) await measure(); // warm-up, not counted
  const raw = await alternate(
    [{ name: 'products, looplm f32', measure: () => roofs.product() }, ...variants],
    rounds,
  );
  for (const peer of peers) peer.quit();
  checkLosses(losses);
  return { versions, entry: summarizeCase(example, stepFlops(example), raw, losses) };
}

const flags = readRounds(ROUNDS);
await using roofs = await openRoofs(THREADS);
const measured = [];
for (const example of CASES) {
  const folder = await mkdtemp(join(tmpdir(), 'looplm-bench-'));
  try {
    measured.push(await measureCase(example, roofs, flags.rounds, folder));
  } finally {
    await rm(folder, { recursive: true });
  }
}
const result = {
  title: 'Training step: looplm against PyTorch',
  settings: {
    threads: THREADS,
    rounds: flags.rounds,
    stepsPerRound: STEPS_PER_ROUND,
    seed: SEED,
  },
  ...provenance(measured[0]!.versions),
  cases: measured.map(({ entry }) => entry),
};
await writeResult('train-step', result, flags.json);
process.stdout.write(`${trainStepText(result)}\n`);
