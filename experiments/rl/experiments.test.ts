/**
 * An experiment from end to end on a start that has learnt nothing, with runs of one update: every arm
 * runs, is left as it is when it is done, and becomes a page with pictures.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RolloutRecord } from 'looplm/engine';
import { exitDistribution } from 'looplm/engine';
import { createInlineDevice } from 'looplm/runtime';
import type { ExperimentName } from './arms.js';
import { ARMS, EXPERIMENTS } from './arms.js';
import { resultOf } from './collect.js';
import { doJob } from './do-job.js';
import type { Result } from './figures.js';
import { resultSchema } from './figures.js';
import type { Plan } from './jobs.js';
import { stagesOf } from './jobs.js';
import { pretended } from './pretended-exits.js';
import { pageOf } from './report/page.js';

let plan: Plan;
beforeAll(async () => {
  const out = await mkdtemp(join(tmpdir(), 'experiments-'));
  plan = { out, seeds: 1, updates: 1, problems: 6, startSteps: 1 };
});
afterAll(() => rm(plan.out, { recursive: true }));

const provenance = { commit: 'none', machine: 'some', versions: {} };
const NAMES = ['rl-fixed-path'] as const;

test('its arms run from one start, and their figures become a page', async () => {
  const lines: string[] = [];
  await using device = await createInlineDevice({ numThreads: 1 });
  const work = {
    plan,
    device,
    signal: new AbortController().signal,
    print: (line: string) => lines.push(line),
  };
  const jobs = stagesOf(NAMES, plan).flat();
  for (const job of jobs) expect(await doJob(job, work)).toBe(true);
  const numLines = lines.length;
  for (const job of jobs) expect(await doJob(job, work)).toBe(true);
  expect(lines).toHaveLength(numLines); // what is done is not done again

  const results = new Map<ExperimentName, Result>();
  for (const name of NAMES) {
    const result = await resultOf(name, plan, provenance);
    expect(resultSchema.parse(JSON.parse(JSON.stringify(result)))).toEqual(result);
    results.set(name, result);
  }
  for (const { arm, updates, looks } of results.get('rl-fixed-path')!.runs) {
    expect(updates.reward).toHaveLength(1);
    expect(looks.map(({ trainStep }) => trainStep)).toEqual([1]);
    // rounding where rollouts are replayed as they were drawn; anything else is another policy
    const isExact = arm === 'cispo' || arm === 'grpo';
    for (const divergence of updates.divergence) {
      if (isExact) expect(Math.abs(divergence)).toBeLessThan(1e-4);
      else expect(Math.abs(divergence)).toBeGreaterThan(1e-3);
    }
  }
  const { text, pictures } = pageOf(results);
  for (const arm of EXPERIMENTS['rl-fixed-path']) expect(text).toContain(ARMS[arm].title);
  for (const [, name] of text.matchAll(/\(images\/([\w.-]+)\)/g)) {
    expect(pictures[name!]).toMatch(/^<svg/);
  }
});

test('pretended exits are drawn from the gate of what was computed, and change nothing else', () => {
  const gateLogits = [-1, 0.5, 0.25, 2];
  const numTokens = 4000;
  const list = <T>(value: T) => Array.from({ length: numTokens }, () => value);
  const record = {
    tokenIds: list(1),
    exitDepths: list(4),
    logprobs: list(-0.5),
    gateLogits: list(gateLogits),
    numLoops: 4,
    seed: 3,
    meanDepth: 4,
  } as unknown as RolloutRecord;
  const { exitDepths, meanDepth, ...rest } = pretended(record);
  expect({ ...rest, exitDepths: record.exitDepths, meanDepth: 4 }).toEqual(record);
  exitDistribution(gateLogits).exitPdf.forEach((prob, loopIndex) => {
    const share = exitDepths.filter((depth) => depth === loopIndex + 1).length / numTokens;
    // four deviations of a share of so many draws
    expect(Math.abs(share - prob)).toBeLessThan(4 * Math.sqrt((prob * (1 - prob)) / numTokens));
  });
  expect(meanDepth).toBeCloseTo(exitDepths.reduce((sum, depth) => sum + depth, 0) / numTokens);
});
