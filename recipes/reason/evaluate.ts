/**
 * Measures models of this recipe: `npm run eval:reason -- runs/reason` reads what the run has come to,
 * writes evaluation.json into its folder and prints the tables. `--beside FOLDER`, as often as wanted,
 * adds columns of other runs that were measured; `--count` is questions of each task and difficulty.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine } from 'looplm/engine';
import { ConfigError, LoopLMError } from 'looplm/errors';
import { modelCost } from 'looplm/model';
import { writeFileAtomic } from 'looplm/node';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { Scribe } from './documents.js';
import type { Evaluation } from './evaluation/evaluation-file.js';
import { EVALUATION_FILE, readRivals } from './evaluation/evaluation-file.js';
import { cellOf, exitFigures, readSets, replyFigures } from './evaluation/figures.js';
import { questionSets } from './evaluation/sets.js';
import { cardTables } from './evaluation/tables.js';
import { readRun } from './run-folder.js';
import { tokenizerJson } from './tokenizer.js';

/** Loops that are tried, as a multiple of the trained ones. */
const LOOPS_TRIED = 2;
const COST = { context: 32, weights: 'f32', cacheDtype: 'f32' } as const;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      beside: { type: 'string', multiple: true, default: [] },
      count: { type: 'string', default: '200' },
      threads: { type: 'string', default: '1' },
    },
    allowPositionals: true,
  });
  const [path] = positionals;
  if (path === undefined) throw new ConfigError('folder', 'Give the folder of the run.');
  const evaluation = await evaluate(path, Number(values.count), Number(values.threads));
  await writeFileAtomic(join(path, EVALUATION_FILE), `${JSON.stringify(evaluation)}\n`);
  console.log(cardTables(evaluation, await readRivals(values.beside)));
}

async function evaluate(path: string, count: number, numThreads: number): Promise<Evaluation> {
  const { config, weights, trainSteps } = await readRun(path);
  const { numLoops } = config;
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const encode = (text: string) => tokenizer.encode(text);
  const sets = questionSets(new Scribe(encode), count);
  await using device = await createInlineDevice({ numThreads });
  await using engine = await Engine.create({ device, config, weights });
  const measured = await readSets(engine, sets, LOOPS_TRIED * numLoops);
  const uniform = measured.filter(({ kind }) => kind === 'uniform');
  const exits = exitFigures(uniform, numLoops);
  const typed = sets.filter(({ kind }) => kind === 'uniform');
  const threshold = exits.gate.cheapest.threshold!;
  const replies: Evaluation['replies'] = [];
  for (const policy of ['full', `cdf:${threshold}`]) {
    replies.push(await replyFigures(engine, encode, typed, policy, 'deferred'));
  }
  const cells = measured.map((set) => cellOf(set, numLoops, threshold));
  const { total } = modelCost(config, COST).parameters;
  return { parameters: total, numLoops, trainSteps, cells, exits, replies };
}

try {
  await main();
} catch (error) {
  if (!(error instanceof LoopLMError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
