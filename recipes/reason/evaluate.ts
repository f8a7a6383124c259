/**
 * Measures a model of this recipe: `node dist/recipes/reason/evaluate.js runs/reason` prints the tables
 * and writes evaluation.json into the folder. `--count N` questions of each task and difficulty.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Engine } from 'looplm/engine';
import { ConfigError } from 'looplm/errors';
import { mean } from 'looplm/eval';
import { writeFileAtomic } from 'looplm/node';
import { createInlineDevice } from 'looplm/runtime';
import { Tokenizer } from 'looplm/tokenizer';
import { Scribe } from './documents.js';
import { cellOf, exitFigures, readSets, replyFigures } from './evaluation/figures.js';
import { questionSets } from './evaluation/sets.js';
import { readRun } from './run-folder.js';
import { tokenizerJson } from './tokenizer.js';

/** Loops that are tried, as a multiple of the trained ones. */
const LOOPS_TRIED = 2;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      count: { type: 'string', default: '200' },
      threads: { type: 'string', default: '1' },
    },
    allowPositionals: true,
  });
  const [path] = positionals;
  if (path === undefined) throw new ConfigError('folder', 'Give the folder of the model.');
  const { config, weights } = await readRun(path);
  const tokenizer = Tokenizer.fromJson(tokenizerJson());
  const encode = (text: string) => tokenizer.encode(text);
  const sets = questionSets(new Scribe(encode), Number(values.count));
  await using device = await createInlineDevice({ numThreads: Number(values.threads) });
  await using engine = await Engine.create({ device, config, weights });
  const measured = await readSets(engine, sets, LOOPS_TRIED * config.numLoops);
  const uniform = measured.filter(({ kind }) => kind === 'uniform');
  const exits = exitFigures(uniform, config.numLoops);
  const typed = sets.filter(({ kind }) => kind === 'uniform');
  const policies = ['full', `cdf:${exits.gate.cheapest.threshold}`];
  const replies = [];
  for (const policy of policies) {
    replies.push(await replyFigures(engine, encode, typed, policy, 'deferred'));
  }
  const evaluation = { cells: measured.map(cellOf), exits, replies };
  await writeFileAtomic(join(path, 'evaluation.json'), `${JSON.stringify(evaluation, null, 1)}\n`);
  for (const cell of evaluation.cells) {
    const shown = cell.accuracyByDepth.map((it) => it.toFixed(2)).join(' ');
    console.log(`${cell.kind}  ${cell.task} ${cell.difficulty}  n ${cell.n}  ${shown}`);
  }
  for (const { policy, cells, executedLoops, fullDepthLoops } of replies) {
    const accuracy = mean(cells.map((cell) => cell.accuracy));
    console.log(
      `replies ${policy}: ${accuracy.toFixed(3)} right, ${(executedLoops / fullDepthLoops).toFixed(3)} of the loops`,
    );
    console.log(
      cells
        .map((cell) => `${cell.task} ${cell.difficulty}: ${cell.accuracy.toFixed(2)}`)
        .join('  '),
    );
  }
  console.log('rank correlation', exits.rankCorrelation, 'cheapest', exits.gate.cheapest);
}

await main();
