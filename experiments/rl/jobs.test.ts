/** Experiments share what they can, and keep apart what differs. */
import { expect, test } from 'vitest';
import { ConfigError } from 'looplm/errors';
import type { ArmName } from './arms.js';
import { ARMS, EXPERIMENTS, armOf, experimentsOf } from './arms.js';
import type { Plan } from './jobs.js';
import { DEFAULT_PLAN, folderOf, stagesOf } from './jobs.js';

const plan: Plan = { ...DEFAULT_PLAN, out: 'out' };

test('an arm and seed is one job, however many experiments compare it', () => {
  const jobs = stagesOf(experimentsOf(['all']), plan).flat();
  const folders = jobs.map((job) => folderOf(job, plan));
  expect(new Set(folders).size).toBe(jobs.length);
  const runs = jobs.filter(({ kind }) => kind === 'arm');
  expect(runs).toHaveLength(Object.keys(ARMS).length * plan.seeds);
});

test('what others need comes in an earlier stage', () => {
  const stages = stagesOf(experimentsOf(['rl-depth', 'rl-throughput']), { seeds: 1 });
  expect(stages.map((jobs) => jobs.map(({ kind }) => kind))).toEqual([
    ['start'],
    ['gates', 'arm', 'arm', 'arm'],
    ['throughput'],
  ]);
});

test('a run of another length never lies in the folder of this one', () => {
  const job = { kind: 'arm', arm: 'depth', seed: 1 } as const;
  const plans = [
    plan,
    { ...plan, updates: 3 },
    { ...plan, startSteps: 3 },
    { ...plan, problems: 3 },
  ];
  expect(new Set(plans.map((one) => folderOf(job, one))).size).toBe(plans.length);
});

test('arms that are compared differ in what their rollouts or their trainer do', () => {
  for (const arms of Object.values<readonly ArmName[]>(EXPERIMENTS)) {
    expect(new Set(arms.map((arm) => JSON.stringify(armOf(arm)))).size).toBe(arms.length);
  }
});

test('an experiment that is none is refused with those that there are', () => {
  expect(() => experimentsOf(['rl-dept'])).toThrow(ConfigError);
  expect(() => experimentsOf(['rl-dept'])).toThrow(
    /There is no experiment rl-dept; name some of rl-/,
  );
});
