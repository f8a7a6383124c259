/**
 * What a trainer and the workers that draw its rollouts tell each other, over a store that all reach.
 *
 * A record says which weights are the newest; a queue holds what is to be drawn, another one what was drawn.
 * Weights and answers are objects. A session is one trainer from its start until it stops or goes back: what
 * comes from another session is of the past.
 */
import { z } from 'zod';
import type { GroupRequest } from '../answers.js';
import { REPLAYED_KV_POLICIES } from '../objective-settings.js';

/** Record of the newest weights. */
export const POLICY_KEY = 'policy';
export const JOBS = 'rollout-jobs';
export const RESULTS = 'rollout-results';
/** What a worker holds that has said nothing for so long is drawn by another. */
export const SILENCE_SECONDS = 15;

/** Kinds of objects; their names go on with the session. */
export const WEIGHTS_KIND = 'weights';
export const ANSWERS_KIND = 'answers';

const count = z.int().min(0);
const ids = z.array(count).readonly();

const policySchema = z.strictObject({
  session: z.string(),
  /** Train step of the update that comes next. */
  version: count,
  /** Object in the safetensors layout. */
  weights: z.string(),
  /** As config.json has it. */
  model: z.unknown(),
});
export type PolicyRecord = Readonly<z.output<typeof policySchema>>;

const requestSchema = z.strictObject({
  promptIds: ids,
  maxNewTokens: count,
  stopIds: ids,
  exitPolicy: z.string(),
  kvPolicy: z.enum(REPLAYED_KV_POLICIES),
  seeds: ids,
}) satisfies z.ZodType<GroupRequest>;

const jobSchema = z.strictObject({
  session: z.string(),
  /** Update that the answers are for. */
  trainStep: count,
  /** Index among the groups of the update. */
  group: count,
  request: requestSchema,
});
export type RolloutJob = Readonly<z.output<typeof jobSchema>>;

const resultSchema = z.strictObject({
  session: z.string(),
  trainStep: count,
  group: count,
  /** Weights that the answers were drawn by, as their record had them. */
  version: count,
  weights: z.string(),
  /** Object with the answers, in the order of their seeds. */
  answers: z.string(),
});
export type RolloutResult = Readonly<z.output<typeof resultSchema>>;

/** Each gives undefined for a text that is none. */
export const readPolicy = (text: string) => read(policySchema, text);
export const readJob = (text: string) => read(jobSchema, text);
export const readResult = (text: string) => read(resultSchema, text);

function read<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
