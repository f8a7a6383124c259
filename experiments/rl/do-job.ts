/** Does one job, or goes on with it; what is done already is left as it is. */
import { join } from 'node:path';
import { assert } from 'looplm/errors';
import type { ModelWeights } from 'looplm/model';
import { fileExists, nodeFolder, writeFileAtomic } from 'looplm/node';
import type { Device } from 'looplm/runtime';
import type { MetricRecord } from 'looplm/train';
import type { ArmName } from './arms.js';
import { armOf } from './arms.js';
import { DEPLOYMENTS, FINAL_DEPLOYMENTS, deployedFigures } from './deployments.js';
import { FIGURES_FILE } from './figures.js';
import { frontiersOf } from './frontiers.js';
import { withStageTwoGates } from './gates.js';
import type { Job, Plan } from './jobs.js';
import { folderOf, lookProblems } from './jobs.js';
import { runArm } from './run-arm.js';
import { MODEL, startWeights } from './start.js';
import { rolloutRates } from './throughput.js';

export interface Work {
  readonly plan: Plan;
  readonly device: Device;
  readonly signal: AbortSignal;
  readonly print: (line: string) => void;
}

/** @returns whether it is done, and not stopped */
export async function doJob(job: Job, work: Work): Promise<boolean> {
  const path = join(folderOf(job, work.plan), FIGURES_FILE);
  if (await fileExists(path)) return true;
  const figures = await figuresOf(job, work);
  if (figures === undefined) return false;
  await writeFileAtomic(path, `${JSON.stringify(figures)}\n`);
  return true;
}

async function figuresOf(job: Job, work: Work): Promise<object | undefined> {
  const { plan, device, signal, print } = work;
  const { problems } = plan;
  switch (job.kind) {
    case 'start': {
      const weights = await startOf(work);
      if (!weights) return undefined;
      const model = { device, config: MODEL, weights };
      return {
        look: await deployedFigures(model, DEPLOYMENTS, { problems: lookProblems(plan) }),
        deployed: await deployedFigures(model, FINAL_DEPLOYMENTS, { problems }),
        frontiers: await frontiersOf(model, problems),
      };
    }
    case 'gates': {
      const path = folderOf(job, plan);
      const gates = await withStageTwoGates({
        weights: (await startOf(work))!,
        device,
        folderOf: (target) => nodeFolder(join(path, target)),
        signal,
        onProgress: (target, { trainStep, loss }, total) =>
          print(`gate, ${target} labels: ${trainStep}/${total}, loss ${loss.toFixed(4)}`),
      });
      if (!gates) return undefined;
      const figures: Record<string, unknown> = {};
      for (const [target, weights] of gates) {
        const { gate } = await frontiersOf({ device, config: MODEL, weights }, problems);
        figures[target] = gate;
      }
      return figures;
    }
    case 'arm': {
      const weights = await trainedOf(job.arm, job.seed, work);
      if (!weights) return undefined;
      const model = { device, config: MODEL, weights };
      const { kvPolicy } = armOf(job.arm).settings;
      return {
        deployed: await deployedFigures(model, FINAL_DEPLOYMENTS, { problems, kvPolicy }),
        frontiers: await frontiersOf(model, problems),
      };
    }
    case 'throughput': {
      const start = (await startOf(work))!;
      const taught = (await trainedOf('depth', 1, work))!;
      return rolloutRates(device, { 'the start': start, 'after RL': taught });
    }
    default:
      return job satisfies never;
  }
}

/** Every so many updates of the start a line. */
const START_LINES = 100;

async function startOf({ plan, device, signal, print }: Work): Promise<ModelWeights | undefined> {
  return startWeights({
    device,
    folder: nodeFolder(folderOf({ kind: 'start' }, plan)),
    trainSteps: plan.startSteps,
    signal,
    onProgress: ({ trainStep, accuracyPerLoop }, total) => {
      if (trainStep % START_LINES > 0 && trainStep < total) return;
      const accuracy = accuracyPerLoop.map((value) => value.toFixed(3)).join(' ');
      print(`start: ${trainStep}/${total}, accuracy by depth ${accuracy}`);
    },
  });
}

/** Lines of a run. */
const RUN_LINES = 4;

async function trainedOf(
  arm: ArmName,
  seed: number,
  work: Work,
): Promise<ModelWeights | undefined> {
  const { plan, device, signal, print } = work;
  const weights = await startOf(work);
  assert(weights !== undefined, 'a run began before its start was trained');
  const every = Math.ceil(plan.updates / RUN_LINES);
  return runArm({
    arm,
    seed,
    updates: plan.updates,
    problems: lookProblems(plan),
    weights,
    device,
    folder: nodeFolder(folderOf({ kind: 'arm', arm, seed }, plan)),
    signal,
    onProgress: ({ trainStep, source }: MetricRecord, total) => {
      if (trainStep % every > 0 && trainStep < total) return;
      const { reward, meanDepth } = source as { reward: number; meanDepth: number };
      const figures = `reward ${reward.toFixed(2)}, depth ${meanDepth.toFixed(2)}`;
      print(`${arm}, seed ${seed}: ${trainStep}/${total}, ${figures}`);
    },
  });
}
