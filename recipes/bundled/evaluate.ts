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
  isTrainedLength,
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
  const uniformProblems = uniformSets(encode, size.uniform);
  const uniform = await measure('uniform problems', uniformProblems, loopsTried);
  const uniformTrained = uniformProblems.filter(isTrainedLength);

  const frontiers = POLICY_FAMILIES.map((policy) => overallFrontier(trained, policy));
  const gates = [gateFigures(shipped!.gate, trained)];
  const shippedPoint: PolicyPoint = { policy: 'cdf', threshold: exitThreshold };
  const answers = await answersOf(engine, shipped!.gate, [
    ...PREFILL_MODES.flatMap((prefill) => [
      { problems: 'held-out', sets: trainedProblems, point: shippedPoint, prefill } as const,
      { problems: 'uniform', sets: uniformTrained, point: shippedPoint, prefill } as const,
    ]),
    ...cheapestOfPolicies(frontiers.flat())
      .filter(({ policy }) => policy !== 'oracle')
      .filter((point) => policySpec(point) !== policySpec(shippedPoint))
      .map((point) => cheapRun(trainedProblems, point)),
  ]);
  for (const other of others) {
    const measured = await measureGate(device, config, other, trainedProblems);
    gates.push(measured.figures);
    answers.push(...measured.answers);
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

interface AnswerRun extends Pick<Answers, 'problems' | 'prefill'> {
  readonly sets: readonly ProblemSet[];
  readonly point: PolicyPoint;
}
type Answers = Evaluation['answers'][number];

/** Held-out problems under the prefill that runs no loop without need. */
const cheapRun = (sets: readonly ProblemSet[], point: PolicyPoint): AnswerRun => ({
  problems: 'held-out',
  prefill: 'deferred',
  sets,
  point,
});

async function answersOf(
  engine: Engine,
  gate: Answers['gate'],
  runs: readonly AnswerRun[],
): Promise<Answers[]> {
  const report = progressOf(`answers with gate ${gate}`);
  const answers: Answers[] = [];
  for (const { problems, sets, point, prefill } of runs) {
    answers.push({ gate, problems, ...(await answerFigures(engine, sets, point, prefill)) });
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
): Promise<{ figures: Evaluation['gates'][number]; answers: Answers[] }> {
  await using engine = await Engine.create({ device, config, weights });
  const { numLoops } = config;
  const onProgress = progressOf(`gate ${gate}`);
  const figures = gateFigures(gate, await measureSets(engine, problems, { numLoops, onProgress }));
  return {
    figures,
    answers: await answersOf(engine, gate, [cheapRun(problems, figures.cheapest)]),
  };
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
