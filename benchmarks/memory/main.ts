/**
 * Resident memory against the plan that is printed before a model loads, and whether it stays flat:
 * `npm run bench:memory -- [--model DIR] [--rounds N] [--json FILE]`. A round is a load/dispose cycle
 * of the bundled model.
 *
 * Every scenario has a fresh process, so that none sees what another left.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { bundledModelPath } from 'looplm/node';
import { z } from 'zod';
import { readFlags } from '../lib/flags.js';
import { provenance, writeResult } from '../lib/harness.js';
import { describeModel } from '../lib/models.js';
import { goalsOf, memoryText } from './report.js';
import { grownSchema, sampleSchema } from './samples.js';
import type { Scenario } from './scenarios.js';
import { NEW_TOKENS, PROMPT_TOKENS, SEED, THREADS } from './scenarios.js';

const BUNDLED_CYCLES = 50;
const MODEL_CYCLES = 8;

async function inChild<T>(scenario: Scenario, schema: z.ZodType<T>): Promise<T> {
  process.stderr.write(`${scenario.kind}\n`);
  const child = fork(
    fileURLToPath(new URL('./child.js', import.meta.url)),
    [JSON.stringify(scenario)],
    { execArgv: ['--expose-gc'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
  );
  const ended = once(child, 'exit');
  const failed = ended.then(([code]) => {
    throw new Error(`The scenario ${scenario.kind} ended with code ${code}`);
  });
  failed.catch(() => {}); // it also ends after its message
  const [message] = (await Promise.race([once(child, 'message'), failed])) as [unknown];
  await ended;
  return schema.parse(message);
}

const { model: path, rounds: cycles, json } = await readFlags(BUNDLED_CYCLES);
const samples = z.array(sampleSchema);
const measured = {
  grown: await inChild({ kind: 'grow', path }, grownSchema),
  repeated: await inChild({ kind: 'repeat', path }, samples),
  bundledCycles: await inChild({ kind: 'cycle', path: bundledModelPath(), cycles }, samples),
  modelCycles: await inChild({ kind: 'cycle', path, cycles: MODEL_CYCLES }, samples),
};
const result = {
  title: 'Resident memory against the plan',
  settings: {
    threads: THREADS,
    promptTokens: PROMPT_TOKENS,
    newTokens: NEW_TOKENS,
    bundledCycles: cycles,
    modelCycles: MODEL_CYCLES,
    seed: SEED,
  },
  ...provenance(),
  model: await describeModel(path),
  goals: goalsOf(measured),
  ...measured,
};
await writeResult('memory', result, json);
process.stdout.write(`${memoryText(result)}\n`);
