/**
 * From a finished run to a model to ship: `node dist/recipes/reason/ship.js runs/reason --out FOLDER`
 * trains the two gates of stage II, and writes the model with the chosen gate and threshold, all three
 * gates beside it, and its card with the figures of evaluate.ts (`--beside` as there). The runs of the gates live below the run's folder and resume from there.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { generatedSource } from 'looplm/data';
import { ConfigError } from 'looplm/errors';
import { saveCheckpoint } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { createInlineDevice, openSafetensors } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { GATES_FILE, trainGates } from '../exit-gates.js';
import { LENGTH, ROWS } from './configs.js';
import { drawDocument } from './course.js';
import { everything } from './curriculum.js';
import { Scribe } from './documents.js';
import { modelCard } from './evaluation/card.js';
import { EVALUATION_FILE, readEvaluation, readRivals } from './evaluation/evaluation-file.js';
import { readRun } from './run-folder.js';
import { TASKS } from './tasks/index.js';
import { tokenizerFiles, tokenizerJson } from './tokenizer.js';

const GATE_PARTS = ['weight', 'bias'] as const;
const SEED = 8;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      out: { type: 'string' },
      beside: { type: 'string', multiple: true, default: [] },
      gate: { type: 'string', default: 'stage1' },
      threshold: { type: 'string', default: '0.2' },
    },
    allowPositionals: true,
  });
  const [path] = positionals;
  if (path === undefined || values.out === undefined) {
    throw new ConfigError('folder', 'Give the folder of the run, and --out for the model.');
  }
  const rivals = await readRivals(values.beside);
  const { config, weights } = await readRun(path);
  const out = nodeFolder(values.out);
  await using device = await createInlineDevice({ numThreads: 1 });
  const gates = await trainGates({
    device,
    model: config,
    weights,
    source: allProblems(),
    problems: 'reason, all lessons',
    seed: SEED,
    folderOf: (target) => nodeFolder(join(path, `gate-${target}`)),
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
    onProgress: (target, { trainStep, loss }, total) =>
      console.log(`gate ${target}: ${trainStep}/${total} loss ${loss.toFixed(4)}`),
  });
  if (gates === undefined) return;
  await out.write(GATES_FILE, [gates]);

  const shipped = new Map(weights);
  const source = await out.open(GATES_FILE);
  const reader = await openSafetensors(source);
  for (const part of GATE_PARTS) {
    const numbers = await reader.readFloat32(`${values.gate}.${part}`);
    shipped.set(`model.early_exit_gate.${part}`, numbers);
  }
  await source.close();
  const exitThreshold = Number(values.threshold);
  await saveCheckpoint(out, { ...config, exitThreshold }, shipped, {
    dtype: 'f16',
    extraFiles: {
      ...tokenizerFiles(),
      'README.md': modelCard(await readEvaluation(join(path, EVALUATION_FILE)), rivals),
    },
  });
  console.log(`wrote ${values.out} with gate ${values.gate}, threshold ${exitThreshold}`);
}

/** Problems of all lessons, as training draws them when it has opened them all. */
function allProblems() {
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const options = {
    tasks: TASKS,
    scribe: new Scribe((text) => tokenizer.encode(text)),
    maxLength: LENGTH,
  };
  const syllabus = everything(TASKS);
  return generatedSource({
    documents: (rng) => drawDocument(rng, options, syllabus),
    rows: ROWS,
    length: LENGTH,
    seed: SEED,
  });
}

await main();
