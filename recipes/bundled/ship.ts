/**
 * From a finished run to the shipped model: `node dist/recipes/bundled/ship.js --run runs/bundled`
 * trains the two stage II gates of the run's model and writes models/bundled with the chosen gate.
 *
 * The gate runs live below the run's folder and resume from there.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { generatedSource } from 'looplm/data';
import { loadCheckpoint, saveCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { createInlineDevice, openSafetensors } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { LENGTH, ROWS, SEED, SHIPPED_EXIT_THRESHOLD, SHIPPED_GATE } from './configs.js';
import { bundledDocuments } from './curriculum.js';
import { GATES_FILE, trainGates } from '../exit-gates.js';
import { runScript } from './script.js';
import { TASKS } from './tasks.js';

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'] as const;
const GATE_PARTS = ['weight', 'bias'] as const;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      run: { type: 'string', default: 'runs/bundled' },
      out: { type: 'string', default: 'models/bundled' },
    },
  });
  const run = nodeFolder(values.run);
  const out = nodeFolder(values.out);
  const { config, weights } = await loadCheckpoint(run);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await run.readText('tokenizer.json')));
  const documents = bundledDocuments({
    encode: (text) => tokenizer.encode(text),
    tasks: Object.values(TASKS),
    totalTrainSteps: 1,
  });
  await using device = await createInlineDevice({ numThreads: 1 });
  const gates = await trainGates({
    device,
    model: config,
    weights,
    // Past its end the curriculum draws all lengths.
    source: generatedSource({
      documents: (rng) => documents(rng, 1),
      rows: ROWS,
      length: LENGTH,
      seed: SEED + 1,
    }),
    problems: 'bundled, at full length',
    seed: SEED + 1,
    folderOf: (target) => nodeFolder(join(values.run, `gate-${target}`)),
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
    onProgress: (target, { trainStep, loss }, total) =>
      console.log(`gate ${target}: ${trainStep}/${total} loss ${loss.toFixed(4)}`),
  });
  if (gates === undefined) return;
  await out.write(GATES_FILE, [gates]);

  const source = await out.open(GATES_FILE);
  const reader = await openSafetensors(source);
  const shipped = new Map(weights);
  for (const part of GATE_PARTS) {
    const values32 = await reader.readFloat32(`${SHIPPED_GATE}.${part}`);
    shipped.set(`model.early_exit_gate.${part}`, values32);
  }
  await source.close();
  const texts = await Promise.all(
    TOKENIZER_FILES.map(async (name) => [name, await run.readText(name)] as const),
  );
  await saveCheckpoint(out, { ...config, exitThreshold: SHIPPED_EXIT_THRESHOLD }, shipped, {
    dtype: 'f32',
    extraFiles: Object.fromEntries(texts),
  });
  console.log(`wrote ${values.out} with gate ${SHIPPED_GATE}, threshold ${SHIPPED_EXIT_THRESHOLD}`);
}

await runScript(main);
