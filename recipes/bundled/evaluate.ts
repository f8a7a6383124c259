/**
 * `npm run eval:bundled`: measures the bundled model on its problems, prints the tables, and says where
 * they differ from the committed figures, evaluation.json beside the model: exit code 1 if they do.
 *
 * `--write` writes the figures there instead; report.ts then brings texts and pictures up to date. With
 * `--quick` it measures a fifth of the problems and only prints. `--model FOLDER` names another model,
 * `--threads N` the threads to compute with.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine, KV_POLICIES, PREFILL_MODES } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { POLICY_FAMILIES } from 'looplm/eval';
import type { Folder, LoopLMConfig } from 'looplm/model';
import { loadCheckpoint, modelCost } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import type { AnswerFigures } from './evaluation/answers.js';
import { answerFigures } from './evaluation/answers.js';
import { settleFigures } from './evaluation/committed.js';
import type { Evaluation } from './evaluation/figures.js';
import { EVALUATION_FILE, figuresToJson } from './evaluation/figures.js';
import type { GatedWeights } from './evaluation/gates-file.js';
import { readGates } from './evaluation/gates-file.js';
import {
  accuracyCell,
  cheapestOfPolicies,
  exitFigures,
  gateFigures,
  measureSets,
  overallFrontier,
  rankCorrelations,
  truncateSets,
  uniformCell,
} from './evaluation/measure.js';
import type { ProblemSet } from './evaluation/problem-sets.js';
import {
  EVALUATION_SEED,
  longerSets,
  trainedSets,
  uniformSets,
  unseenStartSets,
} from './evaluation/problem-sets.js';
import type { PolicyPoint } from './evaluation/streams.js';
import { pointsNear, policySpec, streamFigures } from './evaluation/streams.js';
import { evaluationTables } from './evaluation/tables.js';
import { progressOf, runScript, versionOf } from './script.js';

/** Problems of a difficulty: held-out ones, how many of those are run for real, and uniform ones. */
const FULL = { problems: 200, streamed: 20, uniform: 500, depths: [2, 2.75, 3.5] };
const QUICK = { problems: 40, streamed: 3, uniform: 100, depths: [2.75] };
type Size = typeof FULL;

/** Loops that are tried, as a multiple of the trained ones. */
const LOOPS_TRIED = 2;

const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'models/bundled' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      threads: { type: 'string', default: String(availableParallelism()) },
    },
  });
  const size = values.quick ? QUICK : FULL;
  await using device = await createInlineDevice({ numThreads: Number(values.threads) });
  const evaluation = await evaluate(device, nodeFolder(values.model), size);
  console.log(evaluationTables(evaluation));
  if (values.quick) return;
  await settleFigures({
    path: join(values.model, EVALUATION_FILE),
    json: figuresToJson(evaluation),
    write: values.write,
  });
}

async function evaluate(device: Device, folder: Folder, size: Size): Promise<Evaluation> {
  const { config, weights } = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  const encode = (text: string) => tokenizer.encode(text);
  const trainedProblems = trainedSets(encode, size.problems);
  const [shipped, ...others] = await readGates(folder, config, weights);
  await using engine = await Engine.create({ device, config, weights });
  const measure = (what: string, sets: readonly ProblemSet[], numLoops: number) =>
    measureSets(engine, sets, { numLoops, onProgress: progressOf(what) });

  const { numLoops, exitThreshold } = config;
  const loopsTried = LOOPS_TRIED * numLoops;
  const deep = await measure('trained lengths', trainedProblems, loopsTried);
  const trained = truncateSets(deep, numLoops);
  const longerProblems = longerSets(encode, size.problems);
  const longer = await measure('longer problems', longerProblems, loopsTried);
  const unseenProblems = unseenStartSets(encode, size.problems);
  const unseenStarts = await measure('unseen beginnings', unseenProblems, numLoops);
  const uniform = await measure('uniform problems', uniformSets(encode, size.uniform), loopsTried);

  const frontiers = POLICY_FAMILIES.map((policy) => overallFrontier(trained, policy));
  const gates = [gateFigures(shipped!.gate, trained)];
  const ownAnswers = await shippedAnswers(engine, trainedProblems, frontiers.flat(), exitThreshold);
  const answers = ownAnswers.map((one) => ({ gate: shipped!.gate, ...one }));
  for (const other of others) {
    const measured = await measureGate(device, config, other, trainedProblems);
    gates.push(measured.figures);
    answers.push({ gate: other.gate, ...measured.answers });
  }
  return {
    provenance: {
      looplm: versionOf('looplm'),
      onnxruntime: versionOf('onnxruntime-node'),
      seed: EVALUATION_SEED,
      problemsPerDifficulty: size.problems,
      streamedPerDifficulty: size.streamed,
      uniformPerDifficulty: size.uniform,
    },
    model: {
      parameters: modelCost(config, COST).parameters.total,
      numLoops,
      exitThreshold,
      gate: shipped!.gate,
    },
    trained: deep.map((set, index) => ({
      ...accuracyCell(set),
      ...exitFigures(trained[index]!, exitThreshold),
    })),
    unseenStarts: unseenStarts.map(accuracyCell),
    longer: longer.map(accuracyCell),
    uniform: uniform.map((set) => uniformCell(set, config)),
    shipped: overallFrontier(trained, 'cdf', [exitThreshold])[0]!,
    rankCorrelation: rankCorrelations(trained, exitThreshold),
    frontiers: frontiers.flat(),
    gates,
    answers,
    streams: await runStreams(engine, trainedProblems, frontiers, size),
  };
}

/** The shipped threshold under each prefill, and every policy at its cheapest. */
async function shippedAnswers(
  engine: Engine,
  problems: readonly ProblemSet[],
  frontiers: readonly FrontierPoint[],
  exitThreshold: number,
): Promise<AnswerFigures[]> {
  const shipped: PolicyPoint = { policy: 'cdf', threshold: exitThreshold };
  const cheapest = cheapestOfPolicies(frontiers).filter(({ policy }) => policy !== 'oracle');
  const runs = [
    ...PREFILL_MODES.map((prefill) => ({ point: shipped, prefill })),
    ...cheapest
      .filter((point) => policySpec(point) !== policySpec(shipped))
      .map((point) => ({ point, prefill: 'deferred' as const })),
  ];
  const report = progressOf('answers');
  const answers: AnswerFigures[] = [];
  for (const { point, prefill } of runs) {
    answers.push(await answerFigures(engine, problems, point, prefill));
    report(answers.length, runs.length);
  }
  return answers;
}

/** The trained problems with another gate, and answers at its cheapest threshold. */
async function measureGate(
  device: Device,
  config: LoopLMConfig,
  { gate, weights }: GatedWeights,
  problems: readonly ProblemSet[],
): Promise<{ figures: Evaluation['gates'][number]; answers: AnswerFigures }> {
  await using engine = await Engine.create({ device, config, weights });
  const { numLoops } = config;
  const onProgress = progressOf(`gate ${gate}`);
  const figures = gateFigures(gate, await measureSets(engine, problems, { numLoops, onProgress }));
  return { figures, answers: await answerFigures(engine, problems, figures.cheapest, 'deferred') };
}

/** Every policy for real: `per-loop` at one depth as a check, the other KV policies at each. */
async function runStreams(
  engine: Engine,
  sets: readonly ProblemSet[],
  frontiers: readonly (readonly FrontierPoint[])[],
  { streamed, depths }: Size,
): Promise<Evaluation['streams']> {
  const few = sets.map((set) => ({ ...set, documents: set.documents.slice(0, streamed) }));
  const points = frontiers
    .filter(([point]) => point!.policy !== 'oracle')
    .flatMap((policyPoints) => pointsNear(policyPoints, depths));
  const runs = KV_POLICIES.flatMap((kvPolicy) => points.map((point) => ({ kvPolicy, point })));
  const report = progressOf('real runs');
  const streams: Evaluation['streams'] = [];
  for (const { kvPolicy, point } of runs) {
    streams.push(await streamFigures(engine, few, point, kvPolicy));
    report(streams.length, runs.length);
  }
  return streams;
}

await runScript(main);
