/**
 * `npm run eval:bundled`: measures the bundled model on its held-out problems, writes the figures to
 * evaluation.json beside it and the pictures to docs/images, and prints the tables.
 *
 * With `--quick` it measures a fifth of the problems and writes nothing. `--model FOLDER` and
 * `--images FOLDER` name other places, `--threads N` the threads to compute with. Texts are updated
 * by report.ts.
 */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, KV_POLICIES } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { POLICY_FAMILIES } from 'looplm/eval';
import type { Folder } from 'looplm/model';
import { loadCheckpoint, modelCost } from 'looplm/model';
import { nodeFolder, writeFileAtomic } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { bundledCharts } from './evaluation/charts.js';
import type { Evaluation } from './evaluation/figures.js';
import { EVALUATION_FILE, figuresToJson } from './evaluation/figures.js';
import { readGates } from './evaluation/gates-file.js';
import type { Subject } from './evaluation/measure.js';
import {
  accuracyCell,
  exitFigures,
  gateFigures,
  measureSets,
  overallFrontier,
  rankCorrelations,
  truncateSets,
} from './evaluation/measure.js';
import type { ProblemSet } from './evaluation/problem-sets.js';
import {
  EVALUATION_SEED,
  longerSets,
  trainedSets,
  unseenStartSets,
} from './evaluation/problem-sets.js';
import { pointsNear, streamFigures } from './evaluation/streams.js';
import { evaluationTables } from './evaluation/tables.js';
import { runScript } from './script.js';

/** Held-out problems of a difficulty, and how many of them are run for real. */
const FULL = { problems: 200, streamed: 20, depths: [2, 2.75, 3.5] };
const QUICK = { problems: 40, streamed: 3, depths: [2.75] };

/** Loops that are tried, as a multiple of the trained ones. */
const LOOPS_TRIED = 2;

const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'models/bundled' },
      images: { type: 'string', default: 'docs/images' },
      quick: { type: 'boolean', default: false },
      threads: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const size = values.quick ? QUICK : FULL;
  const folder = nodeFolder(values.model);
  await using device = await createInlineDevice({ numThreads: Number(values.threads) });
  const evaluation = await evaluate(device, folder, size);
  console.log(evaluationTables(evaluation));
  if (values.quick) return;
  await folder.write(EVALUATION_FILE, figuresToJson(evaluation));
  for (const [name, svg] of Object.entries(bundledCharts(evaluation))) {
    await writeFileAtomic(join(values.images, name), svg);
  }
  console.log(`Wrote ${join(values.model, EVALUATION_FILE)} and the pictures of ${values.images}.`);
}

async function evaluate(device: Device, folder: Folder, size: typeof FULL): Promise<Evaluation> {
  const { config, weights } = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  const encode = (text: string) => tokenizer.encode(text);
  const gates = await readGates(folder, config, weights);
  const { numLoops, exitThreshold } = config;
  const loopsTried = LOOPS_TRIED * numLoops;
  const subject: Subject = { device, config, weights };

  const trainedProblems = trainedSets(encode, size.problems);
  const deep = await measureSets(subject, trainedProblems, loopsTried, progress('trained lengths'));
  const longerProblems = longerSets(encode, size.problems);
  const longer = await measureSets(
    subject,
    longerProblems,
    loopsTried,
    progress('longer problems'),
  );
  const unseenStarts = await measureSets(
    subject,
    unseenStartSets(encode, size.problems),
    numLoops,
    progress('unseen beginnings'),
  );
  const trained = truncateSets(deep, numLoops);
  const gateRows: Evaluation['gates'] = [];
  for (const { gate, weights: gated, isShipped } of gates) {
    const sets = isShipped
      ? trained
      : await measureSets(
          { ...subject, weights: gated },
          trainedProblems,
          numLoops,
          progress(`gate ${gate}`),
        );
    gateRows.push(gateFigures(gate, sets));
  }
  const frontiers = POLICY_FAMILIES.map((policy) => overallFrontier(trained, policy));
  return {
    provenance: {
      looplm: versionOf('looplm'),
      onnxruntime: versionOf('onnxruntime-node'),
      seed: EVALUATION_SEED,
      problemsPerDifficulty: size.problems,
      streamedPerDifficulty: size.streamed,
    },
    model: {
      parameters: modelCost(config, COST).parameters.total,
      numLoops,
      exitThreshold,
      gate: gates[0]!.gate,
    },
    trained: deep.map((set, index) => ({
      ...accuracyCell(set),
      ...exitFigures(trained[index]!, exitThreshold),
    })),
    unseenStarts: unseenStarts.map(accuracyCell),
    longer: longer.map(accuracyCell),
    shipped: overallFrontier(trained, 'cdf', [exitThreshold])[0]!,
    rankCorrelation: rankCorrelations(trained, exitThreshold),
    frontiers: frontiers.flat(),
    gates: gateRows,
    streams: await runStreams(subject, trainedProblems, frontiers, size),
  };
}

/** Every policy for real: `per-loop` at one depth as a check, the other KV policies at each. */
async function runStreams(
  { device, config, weights }: Subject,
  sets: readonly ProblemSet[],
  frontiers: readonly (readonly FrontierPoint[])[],
  { streamed, depths }: typeof FULL,
): Promise<Evaluation['streams']> {
  const few = sets.map((set) => ({ ...set, documents: set.documents.slice(0, streamed) }));
  const points = frontiers
    .filter(([point]) => point!.policy !== 'oracle')
    .flatMap((policyPoints) => pointsNear(policyPoints, depths));
  const runs = KV_POLICIES.flatMap((kvPolicy) => points.map((point) => ({ kvPolicy, point })));
  const engine = await Engine.create({ device, config, weights });
  try {
    const report = progress('real runs');
    const streams: Evaluation['streams'] = [];
    for (const { kvPolicy, point } of runs) {
      streams.push(await streamFigures(engine, few, point, kvPolicy));
      report(streams.length, runs.length);
    }
    return streams;
  } finally {
    await engine.dispose();
  }
}

/** Prints how far a part of the measuring is, at most once a second, and its end. */
function progress(what: string): (done: number, total: number) => void {
  let printedMs = 0;
  return (done, total) => {
    const nowMs = performance.now();
    if (done < total && nowMs - printedMs < 1000) return;
    printedMs = nowMs;
    console.log(`${what}: ${done} of ${total}`);
  };
}

function versionOf(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
}

await runScript(main);
