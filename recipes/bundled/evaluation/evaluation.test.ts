/** Laws of measuring and reporting the bundled model, on tiny models and made-up figures. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IGNORED_TARGET, generatorFor } from 'looplm/data';
import { Engine, PREFILL_MODES } from 'looplm/engine';
import { POLICY_FAMILIES } from 'looplm/eval';
import type { LoopLMConfig } from 'looplm/model';
import { initializeWeights, memoryFolder, saveGates } from 'looplm/model';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { expect, test, vi } from 'vitest';
import { drawForTraining, everything, trainedDifficulties } from '../curriculum.js';
import { Scribe } from '../documents.js';
import { replyText, textOf } from '../problem.js';
import { TASKS } from '../tasks/index.js';
import { tokenizerJson } from '../tokenizer.js';
import { bundledCharts } from './charts.js';
import { describeDifferences, differencesOf, settleFigures } from './committed.js';
import type { Comparison, Evaluation } from './figures.js';
import { SEED } from '../configs.js';
import { comparisonSchema, evaluationSchema, figuresToJson, GATES } from './figures.js';
import { readGates } from './gates-file.js';
import {
  accuracyCell,
  exitFigures,
  gateFigures,
  measureSets,
  overallFrontier,
  rankCorrelations,
} from './measure.js';
import { replaceMarked } from './marked-text.js';
import type { Question } from './question-sets.js';
import { questionSets } from './question-sets.js';
import { replyFigures } from './replies.js';
import {
  STREAMED_WAYS,
  adaptiveFigures,
  cheapestAdaptive,
  pointsNear,
  streamFigures,
} from './streams.js';
import { evaluationTables, readmeTables } from './tables.js';

const tokenizer = Tokenizer.fromJson(tokenizerJson());
const encode = (text: string) => tokenizer.encode(text);
const scribe = new Scribe(encode);

const CONFIG: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 8,
  intermediateSize: 8,
  numHiddenLayers: 1,
  numAttentionHeads: 1,
  numKeyValueHeads: 1,
  headDim: 8,
  vocabSize: tokenizer.vocabSize,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 256,
  tieWordEmbeddings: false,
  numLoops: 4,
  exitThreshold: 0.4,
  initializerRange: 0.02,
  bosTokenId: 0,
  eosTokenIds: [0],
  padTokenId: 0,
};
const WEIGHTS = initializeWeights(CONFIG, 3, { matrixStd: 'fanIn', embeddingStd: 1 });

/** What a question asks, as text. */
const asked = ({ ids, promptLength }: Question) => tokenizer.decode(ids.slice(0, promptLength));

test('a question is labelled at its answer alone, which its reply gives', () => {
  for (const { questions } of questionSets(scribe, 4)) {
    for (const { ids, targets, promptLength, turn } of questions) {
      expect(targets.slice(0, -1).every((target) => target === IGNORED_TARGET)).toBe(true);
      expect(targets).toHaveLength(ids.length);
      const end = tokenizer.decode([...ids.slice(promptLength), targets.at(-1)!]);
      expect(replyText(turn.reply)).toContain(end.trim());
      expect(end.trim().endsWith(turn.reply.answer.trim())).toBe(true);
    }
  }
});

test('uniform sets ask every trained difficulty of every task, and no question twice', () => {
  const sets = questionSets(scribe, 30, ['uniform']);
  for (const task of TASKS) {
    const difficulties = sets.filter((set) => set.task === task.name).map((set) => set.difficulty);
    expect(difficulties).toEqual(trainedDifficulties(task));
  }
  for (const { difficulty, questions } of sets) {
    expect(new Set(questions.map(asked)).size).toBe(questions.length);
    for (const { turn } of questions) expect(turn.difficulty).toBe(difficulty);
  }
});

test('new wordings, held-out problems and starts are none that training shows', () => {
  const shown = new Set<string>();
  for (let index = 0; index < 4000; index++) {
    const problem = drawForTraining(generatorFor(1, index), TASKS, everything(TASKS));
    for (const { asked: pieces } of problem.turns) shown.add(textOf(pieces));
  }
  const kinds = ['held-out-wording', 'held-out-problem', 'held-out-start'] as const;
  for (const kind of kinds) {
    const sets = questionSets(scribe, 20, [kind]);
    expect(sets.length).toBeGreaterThan(0);
    for (const { questions } of sets) {
      for (const { turn } of questions) {
        if (turn.difficulty > 1) expect(shown).not.toContain(textOf(turn.asked));
      }
    }
  }
});

test('longer sets begin where training ends', () => {
  for (const { task, difficulty } of questionSets(scribe, 1, ['longer'])) {
    const trained = trainedDifficulties(TASKS.find(({ name }) => name === task)!);
    expect(difficulty).toBeGreaterThan(trained.at(-1)!);
  }
});

test('in a conversation a question of another problem and its reply come first', () => {
  for (const { questions } of questionSets(scribe, 3, ['in-conversation'])) {
    for (const question of questions) {
      expect(asked(question).match(/<\|im_start\|>user/g)).toHaveLength(2);
    }
  }
});

test('the nearest point to each depth is taken, each once', () => {
  const points = [1, 1.9, 2.2, 4].map((meanDepth) => ({
    policy: 'cdf' as const,
    threshold: meanDepth / 10,
    meanDepth,
    accuracy: 1,
  }));
  expect(pointsNear(points, [1.95, 2, 3.5])).toEqual([points[1], points[3]]);
});

test('the gates of the file take the place of the gate of the model, the shipped one first', async () => {
  const withGate = GATES.map((gate, index) => {
    const values = Float32Array.from({ length: 8 }, (_, place) => index * place);
    const weights = new Map(WEIGHTS).set('model.early_exit_gate.weight', values);
    return [gate, weights.set('model.early_exit_gate.bias', Float32Array.of(index))] as const;
  });
  const folder = memoryFolder('model', new Map());
  await saveGates(folder, CONFIG, new Map(withGate));
  const gates = await readGates(folder, { config: CONFIG, weights: withGate[2]![1] });
  expect(gates.map(({ gate }) => gate)).toEqual([GATES[2], GATES[0], GATES[1], GATES[3]]);
  expect(gates.map(({ isShipped }) => isShipped)).toEqual([true, false, false, false]);
  expect(gates[1]!.weights).toEqual(withGate[0]![1]);
});

test('without a gates file the model is measured with its own gate', async () => {
  const gates = await readGates(memoryFolder('model', new Map()), {
    config: CONFIG,
    weights: WEIGHTS,
  });
  expect(gates).toEqual([{ gate: 'own', weights: WEIGHTS, isShipped: true }]);
});

test('figures of a tiny model survive their file, and every text and picture is made of them', async () => {
  const evaluation = await tinyEvaluation();
  const text = figuresToJson(evaluation);
  const read = evaluationSchema.parse(JSON.parse(text));
  expect(read).toEqual(JSON.parse(text));
  const comparison = tinyComparison(read);
  expect(comparisonSchema.parse(JSON.parse(figuresToJson(comparison)))).toEqual(comparison);

  const tables = evaluationTables(read, comparison);
  for (const { task, difficulty } of read.trained) {
    expect(tables).toContain(`| ${task} | ${difficulty} |`);
  }
  expect(tables).toContain('| twin |');
  expect(tables).toContain('| `cdf:0.5` | 50.0 % at 2.00 (60 %) |');
  expect(tables).not.toMatch(/NaN|undefined|Infinity/);
  expect(tables).toContain('| 25.0 % |');
  const { executedLoops, fullDepthLoops } = read.replies.find(
    ({ prefill }) => prefill === 'deferred',
  )!;
  const executed = `executes ${((100 * executedLoops) / fullDepthLoops).toFixed(1)} % of the loops`;
  expect(tables).toContain(executed);
  const { executedFraction } = cheapestAdaptive(read.gates[0]!.adaptive);
  expect(readmeTables(read)).toContain(
    `with ${(100 * executedFraction).toFixed(1)} % of the loops executed`,
  );
  expect(readmeTables(read)).not.toMatch(/NaN|undefined|Infinity/);
  for (const svg of Object.values(bundledCharts(read))) expect(svg).toMatch(/^<svg [^]*<\/svg>$/);
});

test('replies count the loops that the engine executes, prompt included', async () => {
  await using device = await createInlineDevice({ numThreads: 1 });
  await using engine = await Engine.create({ device, config: CONFIG, weights: WEIGHTS });
  const sets = questionSets(scribe, 3, ['uniform']).slice(0, 4);
  for (const prefill of PREFILL_MODES) {
    const before = engine.numExecuted;
    const point = { policy: 'cdf', threshold: 0.4 } as const;
    const run = await replyFigures(engine, encode, sets, point, prefill);
    expect(run.executedLoops).toBe(engine.numExecuted - before);
    expect(run.executedLoops).toBeLessThan(run.fullDepthLoops);
  }
});

test('differences from committed figures are found wherever they are, and named', () => {
  const committed = {
    model: { numLoops: 4 },
    streams: [
      { kvPolicy: 'per-loop', policy: 'sampled', meanDepth: 3.3 },
      { kvPolicy: 'shared', policy: 'cdf', threshold: 0.2, meanDepth: 2 },
    ],
    shares: [0.5, 0.5],
  };
  expect(differencesOf(committed, structuredClone(committed))).toEqual([]);
  const measured = structuredClone(committed);
  measured.streams[0]!.meanDepth = 3.2;
  measured.shares.push(0);
  expect(differencesOf(committed, measured)).toEqual([
    { where: 'streams[per-loop sampled].meanDepth', committed: 3.3, measured: 3.2 },
    { where: 'shares[2]', committed: undefined, measured: 0 },
  ]);
  const lines = describeDifferences(differencesOf(committed, measured), 'figures.json');
  expect(lines[0]).toBe('2 figures are not those of figures.json, which stays as it is:');
  expect(lines[1]).toBe('  streams[per-loop sampled].meanDepth: committed 3.3, measured 3.2');
  expect(describeDifferences([], 'figures.json')).toEqual([
    'Every figure is that of figures.json.',
  ]);
});

test('figures are written only where that is asked for', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'looplm-figures-'));
  const lines: string[] = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  const exitCode = process.exitCode;
  try {
    const path = join(folder, 'figures.json');
    const outcome = { path, json: '{"a":2}\n' };
    writeFileSync(path, '{"a":1}\n');
    await settleFigures({ ...outcome, write: false });
    expect(readFileSync(path, 'utf8')).toBe('{"a":1}\n');
    expect(lines).toContain('  a: committed 1, measured 2');
    expect(process.exitCode).toBe(1);

    await settleFigures({ ...outcome, write: true });
    expect(readdirSync(folder).toSorted()).toEqual(['figures.json']);
    process.exitCode = exitCode;
    lines.length = 0;
    await settleFigures({ ...outcome, write: false });
    expect(lines).toEqual([`Every figure is that of ${path}.`]);
    expect(process.exitCode).toBe(exitCode);
  } finally {
    process.exitCode = exitCode;
    vi.restoreAllMocks();
    rmSync(folder, { recursive: true });
  }
});

test('marked text is replaced between its markers only, and twice is once', () => {
  const text = 'before\n<!-- figures -->\nold 1\n<!-- /figures -->\nafter\n';
  const replaced = replaceMarked(text, 'figures', 'new 2');
  expect(replaced).toBe('before\n<!-- figures -->\n\nnew 2\n\n<!-- /figures -->\nafter\n');
  expect(replaceMarked(replaced!, 'figures', 'new 2')).toBe(replaced);
  expect(replaceMarked('no markers', 'figures', 'new 2')).toBeUndefined();
  expect(replaceMarked('<!-- /figures --><!-- figures -->', 'figures', 'new 2')).toBeUndefined();
});

async function tinyEvaluation(): Promise<Evaluation> {
  await using device = await createInlineDevice({ numThreads: 1 });
  await using engine = await Engine.create({ device, config: CONFIG, weights: WEIGHTS });
  const questions = questionSets(scribe, 2, ['uniform']);
  const sets = await measureSets(engine, questions);
  const unseen = await measureSets(engine, questionSets(scribe, 1, ['held-out-start']));
  const longer = await measureSets(engine, questionSets(scribe, 1, ['longer']));
  const few = questions.map((set) => ({ ...set, questions: set.questions.slice(0, 1) }));
  const { exitThreshold, numLoops } = CONFIG;
  const shipped = overallFrontier(sets, 'cdf', [exitThreshold])[0]!;
  const full = { policy: 'fixed', threshold: numLoops } as const;
  const replies: Evaluation['replies'] = [];
  for (const [point, prefill] of [
    ...PREFILL_MODES.map((mode) => [shipped, mode] as const),
    [full, 'deferred'] as const,
  ]) {
    const run = await replyFigures(engine, encode, questions, point, prefill);
    replies.push({ gate: 'stage1', ...run });
  }
  return {
    provenance: {
      looplm: '0',
      onnxruntime: '0',
      seed: 1,
      questionsPerDifficulty: 2,
      streamedPerDifficulty: 1,
    },
    model: { parameters: 1, numLoops, exitThreshold, gate: 'stage1' },
    trained: sets.map((set) => ({ ...accuracyCell(set), ...exitFigures(set, exitThreshold) })),
    unseen: unseen.map(accuracyCell),
    longer: longer.map(accuracyCell),
    shipped,
    rankCorrelation: rankCorrelations(sets, exitThreshold),
    frontiers: POLICY_FAMILIES.flatMap((policy) => overallFrontier(sets, policy)),
    gates: [
      {
        ...gateFigures('stage1', sets),
        adaptive: await adaptiveFigures((point, way) => streamFigures(engine, few, point, way)),
      },
    ],
    replies,
    streams: STREAMED_WAYS.map((way) => ({
      ...way,
      policy: 'cdf',
      threshold: 0.5,
      meanDepth: 2,
      accuracy: 0.5,
      executedFraction: 0.6,
    })),
  };
}

/** Every rival answers a quarter of the problems. */
function tinyComparison({ trained }: Evaluation): Comparison {
  return {
    seed: 1,
    sha256: 'of the weights',
    models: (['looped', 'twin', 'iso-flop'] as const).map((variant) => ({
      variant,
      seed: SEED,
      parameters: 1,
      numHiddenLayers: 1,
      numLoops: 1,
      flopsPerToken: 1,
      trainSteps: 1,
      tokens: 1,
      cells: trained.map(({ kind, task, difficulty, n }) => {
        return { kind, task, difficulty, n, accuracy: 0.25 };
      }),
    })),
  };
}
