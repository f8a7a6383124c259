/** What jobs leave in their folders beside a training run, and result files hold. */
import { z } from 'zod';
import { POLICY_FAMILIES } from 'looplm/eval';
import { FINAL_DEPLOYMENTS } from './deployments.js';

/** In the folder of a job that is done. */
export const FIGURES_FILE = 'figures.json';

const numbers = z.array(z.number());

const policyFigures = z.strictObject({
  reward: z.number(),
  meanDepth: z.number(),
  executedShare: z.number(),
});
/** Figures under ways of running; some of them. */
const deployed = z.partialRecord(z.enum(FINAL_DEPLOYMENTS), policyFigures);

const points = z.array(
  z.strictObject({
    policy: z.enum(POLICY_FAMILIES),
    threshold: z.number(),
    meanDepth: z.number(),
    accuracy: z.number(),
  }),
);
const frontiers = z.strictObject({ gate: points, confidence: points });

export const startFigures = z.strictObject({ look: deployed, deployed, frontiers });
/** Frontiers of the start with each gate of stage II. */
export const gatesFigures = z.strictObject({ published: points, forward: points });
export const armFigures = z.strictObject({ deployed, frontiers });
/** New tokens a second, by round. */
export const throughputFigures = z.strictObject({
  tokensPerSecond: z.record(z.string(), numbers),
  executedShare: z.record(z.string(), z.number()),
});

/** What each update tells, a list for each figure. */
export const UPDATE_FIGURES = [
  'reward',
  'meanDepth',
  'executedShare',
  'divergence',
  'answerTokens',
  'rolloutSeconds',
  'updateSeconds',
] as const;
export type UpdateFigure = (typeof UPDATE_FIGURES)[number];

const runSchema = z.strictObject({
  arm: z.string(),
  seed: z.number(),
  updates: z.record(z.enum(UPDATE_FIGURES), numbers),
  looks: z.array(z.strictObject({ trainStep: z.number(), deployed })),
  ...armFigures.shape,
});
export type Run = z.infer<typeof runSchema>;

/** The result file of an experiment. */
export const resultSchema = z.strictObject({
  experiment: z.string(),
  commit: z.string(),
  machine: z.string(),
  versions: z.record(z.string(), z.string()),
  settings: z.record(z.string(), z.number()),
  start: startFigures,
  gates: gatesFigures.optional(),
  runs: z.array(runSchema),
  throughput: throughputFigures.optional(),
});
export type Result = z.infer<typeof resultSchema>;
export type Points = z.infer<typeof points>;
