/**
 * From a finished run to the shipped model: `node dist/recipes/bundled/ship.js --run runs/bundled`
 * trains stage II gates of the run's model, and writes models/bundled with the chosen gate and with what the
 * run measured, so that others can be trained `--like` it.
 *
 * The gate runs live below the run's folder and resume from there.
 */
import { join } from 'node:path';
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';
import type { TrainingDocument } from 'looplm/data';
import { generatedSource, generatorFor } from 'looplm/data';
import type { EngineOptions } from 'looplm/engine';
import { Engine, argmax } from 'looplm/engine';
import { saveCheckpoint, saveGates } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import type { RunRecord } from 'looplm/train';
import { METRICS_FILE, parseMetrics } from 'looplm/train';
import { trainGates } from '../exit-gates.js';
import { LENGTH, ROWS, SEED, SHIPPED_EXIT_THRESHOLD, SHIPPED_GATE } from './configs.js';
import { drawDocument } from './course.js';
import { everything } from './curriculum.js';
import { Scribe } from './documents.js';
import { pick } from './random.js';
import { readRun } from './run-folder.js';
import { readArguments, runScript } from '../run-script.js';
import { TASKS } from './tasks/index.js';
import { tokenizerFiles, tokenizerJson } from './tokenizer.js';

async function main(): Promise<void> {
  const { values } = readArguments({
    options: {
      run: { type: 'string', default: 'runs/bundled' },
      out: { type: 'string', default: 'models/bundled' },
    },
  });
  const out = nodeFolder(values.out);
  const {
    config: { model },
    weights,
  } = await readRun(values.run);
  await using device = await createInlineDevice({ numThreads: 1 });
  const documents = allProblems();
  const size = { rows: ROWS, length: LENGTH, seed: SEED + 1 };
  const labelled = {
    source: generatedSource({ documents, ...size }),
    problems: 'bundled, all lessons',
  };
  const everywhere = {
    source: generatedSource({
      documents: await selfLabelled({ device, config: model, weights }, documents),
      ...size,
    }),
    problems: 'bundled, all lessons, every token labelled',
  };
  const trained = await trainGates({
    device,
    model,
    weights,
    plans: [
      { name: 'stage2-published', target: 'published', ...labelled },
      { name: 'stage2-forward', target: 'forward', ...labelled },
      { name: 'stage2-everywhere', target: 'forward', ...everywhere },
    ],
    seed: SEED + 1,
    folderOf: (name) => nodeFolder(join(values.run, name)),
    now: () => performance.now(),
    memoryBytes: () => process.memoryUsage().rss,
    onProgress: (name, { trainStep, loss }, total) =>
      console.log(`gate ${name}: ${trainStep}/${total} loss ${loss.toFixed(4)}`),
  });
  if (trained === undefined) return;
  const gates = new Map([['stage1', weights], ...trained]);
  await saveGates(out, model, gates);
  const metrics = await nodeFolder(values.run).readText(METRICS_FILE);
  await saveCheckpoint(
    out,
    { ...model, exitThreshold: SHIPPED_EXIT_THRESHOLD },
    gates.get(SHIPPED_GATE)!,
    {
      dtype: 'f32',
      extraFiles: { ...tokenizerFiles(), [METRICS_FILE]: runRecords(parseMetrics(metrics)) },
    },
  );
  console.log(`wrote ${values.out} with gate ${SHIPPED_GATE}, threshold ${SHIPPED_EXIT_THRESHOLD}`);
}

type Documents = (rng: RandomGenerator) => TrainingDocument;

/** Problems of all lessons, as training draws them when it has opened them all. */
function allProblems(): Documents {
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const options = {
    tasks: TASKS,
    scribe: new Scribe((text) => tokenizer.encode(text)),
    maxLength: LENGTH,
  };
  const syllabus = everything(TASKS);
  return (rng) => drawDocument(rng, options, syllabus);
}

const NUM_SELF_LABELLED = 4000;

/**
 * Some of the documents with a label at every token: where none is known it is what the model itself says at
 * full depth, so that the gate learns of every token whether more loops still change it.
 */
async function selfLabelled(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  documents: Documents,
): Promise<Documents> {
  await using engine = await Engine.create(model);
  const labelled: TrainingDocument[] = [];
  for (let index = 0; index < NUM_SELF_LABELLED; index++) {
    const { ids, targets } = documents(generatorFor(SEED + 2, index));
    const { logits } = await engine.trace([...ids]);
    const { vocabSize } = model.config;
    const last = logits.subarray(logits.length - ids.length * vocabSize);
    const said = (place: number) =>
      argmax(last.subarray(place * vocabSize, (place + 1) * vocabSize));
    labelled.push({
      ids,
      targets: Array.from(targets, (target, place) => (target >= 0 ? target : said(place))),
    });
    if (index % 500 === 499) console.log(`labelled ${index + 1} of ${NUM_SELF_LABELLED}`);
  }
  return (rng) => pick(rng, labelled);
}

/** Loss records between two that are kept. */
const THINNED = 5;

/** What the run measured, and enough of its losses to draw them. */
function runRecords(records: readonly RunRecord[]): string {
  const losses = records.filter((record) => 'lossPerLoop' in record);
  const kept = new Set<RunRecord>(losses.filter((_, index) => index % THINNED === 0));
  return records
    .filter((record) => 'evaluation' in record || kept.has(record))
    .map((record) => `${JSON.stringify(record)}\n`)
    .join('');
}

await runScript(main);
