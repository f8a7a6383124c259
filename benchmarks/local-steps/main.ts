/**
 * Several machines against one: `npm run bench:local-steps -- [--train-steps N] [--every N] [--seeds N]
 * [--json FILE]`. Held-out loss by train step, at equal tokens for each machine. Runs that are in the result file
 * are not done again, so that it goes on after Ctrl-C.
 */
import { readFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { resolve } from 'node:path';
import { lineChart } from 'looplm/charts';
import { writeFileAtomic } from 'looplm/node';
import { countFlag, orEnd, readArguments } from '../../recipes/run-script.js';
import { provenance, writeResult } from '../lib/harness.js';
import type { RunFigures, VariantName } from './runs.js';
import { TOKENS_PER_STEP, VARIANTS, playRun, readText } from './runs.js';

const PICTURE = 'docs/images/local-steps.svg';
/** It may take an hour, and others use the machine. */
const LOWEST_PRIORITY = 19;

interface Result {
  readonly settings: Readonly<Record<string, number>>;
  readonly text: string;
  readonly runs: Readonly<Record<string, RunFigures>>;
}

const { json, ...settings } = orEnd(() => {
  const { values } = readArguments({
    options: {
      'train-steps': { type: 'string' },
      every: { type: 'string' },
      seeds: { type: 'string' },
      json: { type: 'string', default: 'benchmarks/results/local-steps.json' },
    },
  });
  return {
    trainSteps: countFlag('train-steps', values['train-steps'], 200),
    everyTrainSteps: countFlag('every', values.every, 20),
    seeds: countFlag('seeds', values.seeds, 3),
    tokensPerStep: TOKENS_PER_STEP,
    json: values.json,
  };
});
setPriority(LOWEST_PRIORITY);
const text = await readText();
const runs = { ...(await runsSoFar()) };
const names = Object.keys(VARIANTS) as VariantName[];

for (const name of names) {
  for (let seed = 1; seed <= settings.seeds; seed++) {
    const key = `${name}, seed ${seed}`;
    runs[key] ??= await playRun(name, seed, text, settings);
    process.stderr.write(`${key}: ${runs[key].curve.at(-1)![1].toFixed(3)}\n`);
    await writeAll();
  }
  await writeFileAtomic(resolve(PICTURE), picture());
}

async function writeAll(): Promise<void> {
  const title = 'Several machines against one';
  const result = { title, settings, ...provenance(), text: text.sha256, runs };
  await writeResult('local-steps', result, json);
}

/** The runs of the result file, if they are of these settings and this text. */
async function runsSoFar(): Promise<Result['runs']> {
  const saved = await readFile(resolve(json), 'utf8').catch(() => undefined);
  if (saved === undefined) return {};
  const result = JSON.parse(saved) as Result;
  const isSame = (key: 'trainSteps' | 'everyTrainSteps') => result.settings[key] === settings[key];
  return isSame('trainSteps') && isSame('everyTrainSteps') && result.text === text.sha256
    ? result.runs
    : {};
}

/** The mean over the seeds. */
function picture(): string {
  const meanCurve = (name: VariantName) => {
    const curves = Object.entries(runs).flatMap(([key, { curve }]) =>
      key.startsWith(`${name}, seed`) ? [curve] : [],
    );
    return curves[0]!.map(([trainStep], index): [number, number] => [
      trainStep,
      curves.reduce((sum, curve) => sum + curve[index]![1], 0) / curves.length,
    ]);
  };
  return lineChart({
    title: `Held-out loss, mean of ${settings.seeds} seeds`,
    panels: [
      {
        x: { name: 'train step of a machine', max: settings.trainSteps },
        y: { name: 'cross-entropy at full depth (nats per byte)' },
        lines: names
          .filter((name) => runs[`${name}, seed ${settings.seeds}`])
          .map((name) => ({ name, points: meanCurve(name).slice(1) })),
      },
    ],
  });
}
