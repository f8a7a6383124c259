/** looplm's side of the comparison: trains on request, in a process of its own (protocol.ts). */
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { TrainingBatch } from 'looplm/data';
import { loadCheckpoint } from 'looplm/model';
import { createNodeDevice, nodeFolder } from 'looplm/node';
import { laneCount, TrainState } from 'looplm/train';
import type { Ready, Request, Setup, Steps } from './protocol.js';

const LEARNING_RATE = 1e-3;

const reply = (message: Ready | Steps) => process.stdout.write(`${JSON.stringify(message)}\n`);

async function openState({ rows, length, threads, beta, checkpoint }: Setup) {
  const { config, weights } = await loadCheckpoint(nodeFolder(dirname(checkpoint)));
  const device = await createNodeDevice({ numThreads: threads });
  // As many devices as `looplm train` would open.
  const helpers = await Promise.all(
    Array.from({ length: laneCount([rows], threads) - 1 }, () =>
      createNodeDevice({ numThreads: 1 }),
    ),
  );
  const state = await TrainState.create({
    device,
    helpers,
    config,
    rows,
    length,
    objective: { kind: 'stage-1', beta },
    optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 },
    recompute: 'none',
    weights,
  });
  let trainStep = 0;
  return {
    /** Seconds and loss of one update. */
    async step(batch: TrainingBatch): Promise<readonly [number, number]> {
      const start = performance.now();
      const { loss } = await state.update([batch], trainStep++, LEARNING_RATE);
      return [(performance.now() - start) / 1000, loss];
    },
    async dispose() {
      await state.dispose();
      for (const each of [device, ...helpers]) await each.dispose();
    },
  };
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const setup = JSON.parse((await lines.next()).value as string) as Setup;
const { rows, length } = setup;
const state = await openState(setup);
reply({ versions: {} });
for (;;) {
  const line = await lines.next();
  const request = line.done ? { quit: true } : (JSON.parse(line.value) as Request);
  if (!('trainSteps' in request)) break;
  const batch: TrainingBatch = {
    rows,
    length,
    ids: Int32Array.from(request.ids),
    targets: Int32Array.from(request.targets),
    segments: new Int32Array(rows * length).fill(1),
    positions: Int32Array.from({ length: rows * length }, (_, index) => index % length),
  };
  const steps: (readonly [number, number])[] = [];
  for (let n = 0; n < request.trainSteps; n++) steps.push(await state.step(batch));
  reply({ seconds: steps.map(([seconds]) => seconds), losses: steps.map(([, loss]) => loss) });
}
await state.dispose();
