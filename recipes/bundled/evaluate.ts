/**
 * `npm run eval:bundled`: measures the bundled model on its questions, prints the tables, and says where
 * they differ from the committed figures, evaluation.json beside the model: exit code 1 if they do.
 *
 * `--write` writes the figures there instead; report.ts then brings texts and pictures up to date. With
 * `--quick` it measures a fifth of the questions and only prints. `--model FOLDER` names another model,
 * `--threads N` the threads to compute with. Real runs, which take most of the time, are kept in `.cache` until
 * all figures are settled, so that the same command goes on after Ctrl-C.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Engine, PREFILL_MODES } from 'looplm/engine';
import type { FrontierPoint } from 'looplm/eval';
import { POLICY_FAMILIES } from 'looplm/eval';
import type { Folder, LoopLMConfig } from 'looplm/model';
import { GATES_FILE, loadCheckpoint, modelCost } from 'looplm/model';
import { nodeFolder } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { Scribe } from './documents.js';
import type { Encode } from './documents.js';
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
} from './evaluation/measure.js';
import { KeptRuns } from './evaluation/kept-runs.js';
import type { Kind, QuestionSet } from './evaluation/question-sets.js';
import { EVALUATION_SEED, questionSets } from './evaluation/question-sets.js';
import { replyFigures } from './evaluation/replies.js';
import type { PolicyPoint, Stream } from './evaluation/streams.js';
import {
  STREAMED_WAYS,
  adaptiveFigures,
  cheapestAdaptive,
  pointsNear,
  policySpec,
  streamFigures,
} from './evaluation/streams.js';
import { evaluationTables } from './evaluation/tables.js';
import { countFlag, readArguments, runScript } from '../run-script.js';
import { progressOf, sha256Of, versionOf } from './script.js';

/** Questions of a difficulty, how many of those are run for real, and at about which mean depths. */
const FULL = { questions: 100, streamed: 20, depths: [2, 2.5, 3, 3.5] };
const QUICK = { questions: 30, streamed: 3, depths: [2.75] };
type Size = typeof FULL;

/** Loops that are tried, as a multiple of the trained ones. */
const LOOPS_TRIED = 2;

const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

async function main(): Promise<void> {
  const { values } = readArguments({
    options: {
      model: { type: 'string', default: 'models/bundled' },
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      threads: { type: 'string' },
    },
  });
  const size = values.quick ? QUICK : FULL;
  await using device = await createInlineDevice({
    numThreads: countFlag('threads', values.threads, availableParallelism()),
  });
  const kept = await KeptRuns.open([await hashesOf(values.model), EVALUATION_SEED, size]);
  const evaluation = await evaluate(device, nodeFolder(values.model), size, kept);
  console.log(evaluationTables(evaluation));
  if (!values.quick) {
    await settleFigures({
      path: join(values.model, EVALUATION_FILE),
      json: figuresToJson(evaluation),
      write: values.write,
    });
  }
  await kept.remove();
}

/** Of the files on which figures depend. */
async function hashesOf(model: string): Promise<readonly string[]> {
  const names = ['config.json', 'model.safetensors', GATES_FILE, 'tokenizer.json'];
  const paths = names.map((name) => join(model, name)).filter((path) => existsSync(path));
  return Promise.all(paths.map(sha256Of));
}

async function evaluate(
  device: Device,
  folder: Folder,
  size: Size,
  kept: KeptRuns,
): Promise<Evaluation> {
  const { config, weights } = await loadCheckpoint(folder);
  const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
  const encode: Encode = (text) => tokenizer.encode(text);
  const scribe = new Scribe(encode);
  const sets = (...kinds: readonly Kind[]) => questionSets(scribe, size.questions, kinds);
  const [shipped, ...others] = await readGates(folder, { config, weights });
  await using engine = await Engine.create({ device, config, weights });
  const measure = (what: string, asked: readonly QuestionSet[], numLoops: number) =>
    measureSets(engine, asked, { numLoops, onProgress: progressOf(what) });

  const { numLoops, exitThreshold } = config;
  const loopsTried = LOOPS_TRIED * numLoops;
  const questions = sets('uniform');
  const deep = await measure('trained difficulties', questions, loopsTried);
  const trained = truncateSets(deep, numLoops);
  const unseen = await measure(
    'never trained',
    sets('held-out-wording', 'held-out-problem', 'held-out-start', 'in-conversation'),
    numLoops,
  );
  const longer = await measure('longer', sets('longer'), loopsTried);

  const frontiers = POLICY_FAMILIES.map((policy) => overallFrontier(trained, policy));
  const few = questions.map((set) => ({
    ...set,
    questions: set.questions.slice(0, size.streamed),
  }));
  const asked = { encode, questions, few, kept };
  const stream = streamOf(engine, shipped!.gate, asked);
  const adaptive = await adaptiveFigures(stream, progressOf('exits in questions'));
  const gates = [{ ...gateFigures(shipped!.gate, trained), adaptive }];
  const shippedPoint: PolicyPoint = { policy: 'cdf', threshold: exitThreshold };
  const fullPoint: PolicyPoint = { policy: 'fixed', threshold: numLoops };
  const { threshold } = cheapestAdaptive(adaptive);
  const adaptivePoint: PolicyPoint = { policy: 'cdf', threshold };
  const replies = await repliesOf(engine, shipped!.gate, asked, [
    ...PREFILL_MODES.map((prefill) => ({ point: shippedPoint, prefill })),
    { point: fullPoint },
    ...(threshold === exitThreshold
      ? []
      : [{ point: adaptivePoint, prefill: 'adaptive' as const }]),
    ...cheapestOfPolicies(frontiers.flat())
      .filter(({ policy }) => policy !== 'oracle')
      .filter((point) => ![shippedPoint, fullPoint].map(policySpec).includes(policySpec(point)))
      .map((point) => ({ point })),
  ]);
  for (const other of others) {
    const measured = await measureGate(device, config, other, asked);
    gates.push(measured.figures);
    replies.push(...measured.replies);
  }
  return {
    provenance: {
      looplm: versionOf('looplm'),
      onnxruntime: versionOf('onnxruntime-node'),
      seed: EVALUATION_SEED,
      questionsPerDifficulty: size.questions,
      streamedPerDifficulty: size.streamed,
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
    unseen: unseen.map(accuracyCell),
    longer: longer.map(accuracyCell),
    shipped: overallFrontier(trained, 'cdf', [exitThreshold])[0]!,
    rankCorrelation: rankCorrelations(trained, exitThreshold),
    frontiers: frontiers.flat(),
    gates,
    replies,
    streams: await runStreams(stream, frontiers, size),
  };
}

interface Asked {
  readonly encode: Encode;
  readonly questions: readonly QuestionSet[];
  /** Of each difficulty those that are run for real. */
  readonly few: readonly QuestionSet[];
  readonly kept: KeptRuns;
}

type Replies = Evaluation['replies'][number];

/** Real runs with a gate. */
function streamOf(engine: Engine, gate: Replies['gate'], { few, kept }: Asked): Stream {
  return (point, way) =>
    kept.figures(`${gate}, ${way.kvPolicy}, ${way.prefill}, ${policySpec(point)}`, () =>
      streamFigures(engine, few, point, way),
    );
}

/** Replies at some points, by default under the prefill that runs no loop without need. */
async function repliesOf(
  engine: Engine,
  gate: Replies['gate'],
  { encode, questions, kept }: Asked,
  runs: readonly { readonly point: PolicyPoint; readonly prefill?: Replies['prefill'] }[],
): Promise<Replies[]> {
  const report = progressOf(`replies with gate ${gate}`);
  const replies: Replies[] = [];
  for (const { point, prefill = 'deferred' } of runs) {
    const name = `${gate}, replies, ${prefill}, ${policySpec(point)}`;
    const figures = await kept.figures(name, () =>
      replyFigures(engine, encode, questions, point, prefill),
    );
    replies.push({ gate, ...figures });
    report(replies.length, runs.length);
  }
  return replies;
}

/** The questions with another gate, and replies at its cheapest thresholds. */
async function measureGate(
  device: Device,
  config: LoopLMConfig,
  { gate, weights }: GatedWeights,
  asked: Asked,
): Promise<{ figures: Evaluation['gates'][number]; replies: Replies[] }> {
  await using engine = await Engine.create({ device, config, weights });
  const { numLoops } = config;
  const onProgress = progressOf(`gate ${gate}`);
  const measured = await measureSets(engine, asked.questions, { numLoops, onProgress });
  const figures = {
    ...gateFigures(gate, measured),
    adaptive: await adaptiveFigures(
      streamOf(engine, gate, asked),
      progressOf(`exits in questions, gate ${gate}`),
    ),
  };
  const { threshold } = cheapestAdaptive(figures.adaptive);
  const replies = await repliesOf(engine, gate, asked, [
    { point: figures.cheapest },
    { point: { policy: 'cdf', threshold }, prefill: 'adaptive' },
  ]);
  return { figures, replies };
}

/** Every policy for real, in every way. */
async function runStreams(
  stream: Stream,
  frontiers: readonly (readonly FrontierPoint[])[],
  { depths }: Size,
): Promise<Evaluation['streams']> {
  const points = frontiers
    .filter(([point]) => point!.policy !== 'oracle')
    .flatMap((policyPoints) => pointsNear(policyPoints, depths));
  const runs = STREAMED_WAYS.flatMap((way) => points.map((point) => ({ way, point })));
  const report = progressOf('real runs');
  const streams: Evaluation['streams'] = [];
  for (const { way, point } of runs) {
    streams.push(await stream(point, way));
    report(streams.length, runs.length);
  }
  return streams;
}

await runScript(main);
