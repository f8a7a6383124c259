/**
 * Training steps of looplm against PyTorch over a table of models, lengths and vocabularies: same model,
 * same weights, same batch, same threads, alternating rounds.
 * `npm run bench:train-step -- [--rounds N] [--json FILE]`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrainingBatch } from 'looplm/data';
import { generatorFor } from 'looplm/data';
import { initializeWeights, modelCost, saveCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { cutRows, pieceRows } from '../../src/train/lanes.js';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { readRounds } from '../lib/flags.js';
import type { Variant } from '../lib/harness.js';
import { alternate, cpuinfo, provenance, writeResult } from '../lib/harness.js';
import { hasBf16Units } from '../lib/processor.js';
import type { Roofs } from '../lib/roofs.js';
import { openRoofs, PRODUCT_SIZE } from '../lib/roofs.js';
import type { Cell } from './cells.js';
import { CELLS } from './cells.js';
import { checkLosses } from './losses.js';
import type { Allocator } from './peer.js';
import { LOOPLM_COMMAND, Peer, torchCommand } from './peer.js';
import { profileGradients } from './profile.js';
import type { Setup } from './protocol.js';
import { pythonWithTorch } from './python.js';
import { summarizeCase, trainStepGoals, trainStepText } from './report.js';

const THREADS = 2;
/** Rounds of a cell at most; those of large ones are fewer. */
const ROUNDS = 7;
const MIN_ROUNDS = 3;
const SECONDS_OF_CELL = 45;
const SEED = 1;
const BETA = 0.1;

interface Side {
  readonly name: string;
  readonly dtype: Setup['dtype'];
  readonly allocator: Allocator;
  readonly isTorch: boolean;
  readonly compiled?: boolean;
}

const LOOPLM: Side = { name: 'looplm f32', dtype: 'f32', allocator: 'default', isTorch: false };
const torch = (name: string, fields: Pick<Side, 'dtype' | 'allocator' | 'compiled'>): Side => ({
  name: `PyTorch ${name}`,
  isTorch: true,
  ...fields,
});
const EAGER: readonly Side[] = [
  torch('f32', { dtype: 'f32', allocator: 'default' }),
  torch('f32', { dtype: 'f32', allocator: 'blocks kept' }),
  torch('bf16', { dtype: 'bf16', allocator: 'blocks kept' }),
];
const COMPILED: readonly Side[] = [
  torch('f32 compiled', { dtype: 'f32', allocator: 'blocks kept', compiled: true }),
  torch('bf16 compiled', { dtype: 'bf16', allocator: 'blocks kept', compiled: true }),
];

/** Where bfloat16 would be made up in software its sides are left out. */
const SKIPS_BF16 = cpuinfo() !== '' && !hasBf16Units(cpuinfo());
if (SKIPS_BF16) process.stderr.write('bf16 is left out: this processor has no units for it\n');

const flags = readRounds(ROUNDS);
const python = pythonWithTorch();

/** Floating point operations of a step: forward with a readout after every loop, twice that backward. */
function stepFlops({ rows, length, config }: Cell): number {
  // A token sees half the others on average; the other half is masked, and nobody's work.
  const context = length / 2;
  const cost = modelCost(config, { context, weights: 'f32', cacheDtype: 'f32' });
  return 3 * rows * length * config.numLoops * (cost.flopsPerLoop + cost.flopsPerReadout);
}

async function measureCell(cell: Cell, roofs: Roofs, rounds: number, folder: string) {
  const { rows, length, config } = cell;
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
  const [piece] = cutRows(packed(cell, batch), pieceRows(cell, THREADS, config) ?? rows);
  const profile = await profileGradients(config, weights, piece!, BETA);

  const peers: Peer[] = [];
  const variants: Variant[] = [];
  const losses: Record<string, number[]> = {};
  let versions: Readonly<Record<string, string>> = {};
  const eager = EAGER.filter(({ allocator }) => !cell.isLarge || allocator === 'blocks kept');
  const sides = [LOOPLM, ...eager, ...(cell.compiles ? COMPILED : [])].filter(
    ({ dtype }) => !(SKIPS_BF16 && dtype === 'bf16'),
  );
  for (const { name: side, dtype, allocator, isTorch, compiled = false } of sides) {
    const name = `${side}, ${allocator}`;
    const command = isTorch ? torchCommand(python) : LOOPLM_COMMAND;
    const own = { ...setup, dtype, compiled };
    const { peer, ready } = await Peer.start(name, command, allocator, own);
    versions = { ...versions, ...ready.versions };
    peers.push(peer);
    losses[name] = [];
    const product = `products, ${side}`;
    if (isTorch && !compiled && !variants.some((variant) => variant.name === product)) {
      variants.push({ name: product, measure: () => peer.productGflops(PRODUCT_SIZE) });
    }
    variants.push({
      name,
      async measure() {
        const steps = await peer.train({ trainSteps: 1, ...batch });
        losses[name]!.push(...steps.losses);
        return steps.seconds[0]!;
      },
    });
  }
  // Not counted: it compiles and plans. Then another, by whose duration the rounds are chosen.
  for (const { measure } of cell.isLarge ? [] : variants) await measure();
  const start = performance.now();
  for (const { measure } of variants) await measure();
  const fit = Math.floor((1000 * SECONDS_OF_CELL) / (performance.now() - start));
  const raw = await alternate(
    [{ name: 'products, looplm f32', measure: () => roofs.product() }, ...variants],
    Math.min(rounds, Math.max(MIN_ROUNDS, fit)),
  );
  for (const peer of peers) peer.quit();
  checkLosses(losses);
  return { versions, entry: { ...summarizeCase(cell, stepFlops(cell), raw, losses), profile } };
}

/** A batch whose rows are one document each. */
function packed(
  { rows, length }: Cell,
  { ids, targets }: Readonly<Record<'ids' | 'targets', readonly number[]>>,
): TrainingBatch {
  return {
    rows,
    length,
    ids: Int32Array.from(ids),
    targets: Int32Array.from(targets),
    segments: new Int32Array(rows * length).fill(1),
    positions: Int32Array.from({ length: rows * length }, (_, index) => index % length),
  };
}

await using roofs = await openRoofs(THREADS);
const measured = [];
for (const cell of CELLS) {
  process.stderr.write(`${cell.name}\n`);
  const folder = await mkdtemp(join(tmpdir(), 'looplm-bench-'));
  try {
    measured.push(await measureCell(cell, roofs, flags.rounds, folder));
  } finally {
    await rm(folder, { recursive: true });
  }
}
const cases = measured.map(({ entry }) => entry);
const result = {
  title: 'Training step: looplm against PyTorch',
  settings: { threads: THREADS, rounds: flags.rounds, seed: SEED },
  ...provenance(measured[0]!.versions),
  cases,
  goals: trainStepGoals(cases),
};
await writeResult('train-step', result, flags.json);
process.stdout.write(`${trainStepText(result)}\n`);
