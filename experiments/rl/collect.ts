/** From the folders of runs to the result file of an experiment. */
import { join } from 'node:path';
import type { z } from 'zod';
import { readTextFile } from 'looplm/node';
import type { MetricRecord } from 'looplm/train';
import { METRICS_FILE, parseMetrics } from 'looplm/train';
import type { Provenance } from '../../benchmarks/lib/harness.js';
import type { ArmName, ExperimentName } from './arms.js';
import { EXPERIMENTS } from './arms.js';
import { fromEvaluation } from './deployments.js';
import type { Result, Run, UpdateFigure } from './figures.js';
import {
  FIGURES_FILE,
  UPDATE_FIGURES,
  armFigures,
  gatesFigures,
  startFigures,
  throughputFigures,
} from './figures.js';
import type { Job, Plan } from './jobs.js';
import { folderOf } from './jobs.js';

/** The figures of an experiment all of whose jobs are done. */
export async function resultOf(
  experiment: ExperimentName,
  plan: Plan,
  provenance: Provenance,
): Promise<Result> {
  const runs: Run[] = [];
  for (const arm of EXPERIMENTS[experiment]) {
    for (let seed = 1; seed <= plan.seeds; seed++) runs.push(await runOf(arm, seed, plan));
  }
  const { seeds, updates, problems, startSteps } = plan;
  return rounded({
    experiment,
    ...provenance,
    settings: { seeds, updates, problems, startSteps },
    start: await figuresOf({ kind: 'start' }, startFigures, plan),
    ...(experiment === 'rl-depth' && {
      gates: await figuresOf({ kind: 'gates' }, gatesFigures, plan),
    }),
    runs,
    ...(experiment === 'rl-throughput' && {
      throughput: await figuresOf({ kind: 'throughput' }, throughputFigures, plan),
    }),
  });
}

async function runOf(arm: ArmName, seed: number, plan: Plan): Promise<Run> {
  const job: Job = { kind: 'arm', arm, seed };
  const text = await readTextFile(join(folderOf(job, plan), METRICS_FILE));
  const records = parseMetrics(text);
  const updates = records.filter((record): record is MetricRecord => 'source' in record);
  return {
    arm,
    seed,
    updates: Object.fromEntries(
      UPDATE_FIGURES.map((figure) => [
        figure,
        updates.map(({ source }) => source![figure] as number),
      ]),
    ) as Record<UpdateFigure, number[]>,
    looks: records.flatMap((record) =>
      'evaluation' in record
        ? [{ trainStep: record.trainStep, deployed: fromEvaluation(record.evaluation) }]
        : [],
    ),
    ...(await figuresOf(job, armFigures, plan)),
  };
}

async function figuresOf<T>(job: Job, schema: z.ZodType<T>, plan: Plan): Promise<T> {
  return schema.parse(JSON.parse(await readTextFile(join(folderOf(job, plan), FIGURES_FILE))));
}

/** Digits that a figure keeps: its noise begins before. */
const DIGITS = 5;

function rounded<T extends object>(value: T): T {
  const text = JSON.stringify(value, (_, it: unknown) =>
    typeof it === 'number' ? Number(it.toPrecision(DIGITS)) : it,
  );
  return JSON.parse(text) as T;
}
