/**
 * The file that describes a run of reinforcement learning, and what it names, as a run that can be
 * trained. Documented in docs/rl.md.
 */
import { basename, dirname, resolve } from 'node:path';
import type { z } from 'zod';
import { Engine, parseExitPolicy } from '../../engine/index.js';
import { ConfigError } from '../../errors.js';
import { loadCheckpoint } from '../../model/index.js';
import { nodeFolder, readTextFile } from '../../platform/node/index.js';
import type { PolicyRun, PolicyRunOptions, PolicyTask } from '../../rl/index.js';
import {
  evaluatePolicy,
  policyRun,
  policyTextOf,
  policyTrainingFields,
  rlFields,
} from '../../rl/index.js';
import { parseFields } from '../../util/parse-fields.js';
import { section, text, wholeNumber, word } from '../../util/setting-fields.js';
import { readTokenizerFiles } from '../tokenizer-files.js';
import type { TrainingRun } from '../training/run.js';
import { loadTask } from './task-module.js';

const rlFileSchema = section({
  /** Model folder that the policy starts from. */
  from: text(),
  /** JavaScript module with the task. */
  task: text(),
  /** Rows and positions of a micro-batch of the replay; a prompt and its answer must fit a row. */
  rows: wholeNumber(1, 2 ** 16).default(8),
  length: wholeNumber(1, 2 ** 20).default(256),
  ...rlFields,
  /** Greedy answers to the same problems now and then. */
  evaluation: section({
    problems: wholeNumber(0, 1e6).default(64),
    everyTrainSteps: wholeNumber(1, 1e9).default(20),
    /** How they exit. Default: as rollouts do. */
    exitPolicy: text().optional(),
  }).prefault({}),
  training: section(policyTrainingFields).prefault({}),
  dtype: word(['f32', 'bf16', 'f16']).default('f32'),
});

/** A run, and who draws for it, if that is not the trainer. */
export type RLRun = TrainingRun & Pick<PolicyRun<never>, 'rollouts'>;
export type RLRunOptions = Pick<PolicyRunOptions<never>, 'workers' | 'onFault'>;

/** A file as it is written, and one with its defaults. */
export type RLFileInput = z.input<typeof rlFileSchema>;
type RLFile = z.output<typeof rlFileSchema>;

/**
 * The run that a file describes; paths in it are relative to its folder.
 *
 * @throws LoopLMError if a setting, the task, or a file of the model is wrong
 */
export async function readRLFile(path: string, options: RLRunOptions): Promise<RLRun> {
  let json: unknown;
  try {
    json = JSON.parse(await readTextFile(path));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ConfigError(path, `${path} is not valid JSON (${cause.message}). Correct it.`, {
      cause,
    });
  }
  const file = parseRLFile(json, path);
  const at = (name: string) => resolve(dirname(path), name);
  return rlRunOf({ ...file, from: at(file.from) }, await loadTask(at(file.task)), options);
}

export function parseRLFile(json: unknown, what: string): RLFile {
  return parseFields(rlFileSchema, json, what);
}

/** The run of a file's settings for a task. Throws as `readRLFile` does. */
export async function rlRunOf(
  file: RLFile,
  task: PolicyTask,
  options: RLRunOptions,
): Promise<RLRun> {
  const { from, task: _, rows, length, evaluation, training, dtype, ...settings } = file;
  const folder = nodeFolder(from);
  const { config: model, weights } = await loadCheckpoint(folder);
  checkLength(length, model.maxPositionEmbeddings);
  const texts = await readTokenizerFiles(folder);
  const policyText = policyTextOf(texts.texts!, model);
  const exitPolicy = parseExitPolicy(evaluation.exitPolicy ?? settings.exitPolicy);
  const run = policyRun({
    task,
    text: policyText,
    settings,
    model,
    weights,
    training,
    rows,
    length,
    evaluateEvery: evaluation.everyTrainSteps,
    ...options,
  });
  return {
    ...run,
    config: { ...run.config, from: basename(from) },
    extraFiles: texts.files,
    dtype,
    ...(evaluation.problems > 0 && {
      async evaluate(of) {
        const engine = await Engine.create(of);
        try {
          const { seed } = run.config;
          const { kvPolicy, maxNewTokens, rewardTimeoutSeconds } = settings;
          const figures = await evaluatePolicy({
            task,
            text: policyText,
            engine,
            exitPolicy,
            kvPolicy,
            maxNewTokens,
            problems: evaluation.problems,
            seed,
            rewardTimeoutMs: 1000 * rewardTimeoutSeconds,
          });
          const { reward, meanDepth, executedShare } = figures;
          const share = (100 * executedShare).toFixed(0);
          const sentence = `greedy reward ${reward.toFixed(3)} at depth ${meanDepth.toFixed(2)}, ${share} % of the loops run`;
          return { evaluation: { ...figures }, sentence };
        } finally {
          await engine.dispose();
        }
      },
    }),
  };
}

function checkLength(length: number, positions: number): void {
  if (length <= positions) return;
  throw new ConfigError(
    'length',
    `length is ${length}, and the model has ${positions} positions. Shorten the rows.`,
  );
}
