/** How a policy does under each way of running it: at full depth, and with exits of its own. */
import type { EngineOptions } from 'looplm/engine';
import { Engine, parseExitPolicy } from 'looplm/engine';
import type { KvPolicy } from 'looplm/model';
import type { PolicyFigures } from 'looplm/rl';
import { evaluatePolicy } from 'looplm/rl';
import { MAX_NEW_TOKENS, cupsTask, policyText } from './language.js';

/** While it is trained, every so many updates. */
export const DEPLOYMENTS = ['full', 'sampled'] as const;
/** In the end. */
export const FINAL_DEPLOYMENTS = [...DEPLOYMENTS, 'cdf:0.5'] as const;

export type Deployment = (typeof FINAL_DEPLOYMENTS)[number];
export type Deployed = Readonly<Partial<Record<Deployment, PolicyFigures>>>;

/** Of the problems, which are the same for all policies and no problems of training. */
const SEED = 11;

export async function deployedFigures(
  model: Pick<EngineOptions, 'device' | 'config' | 'weights'>,
  deployments: readonly Deployment[],
  { problems, kvPolicy = 'per-loop' }: { readonly problems: number; readonly kvPolicy?: KvPolicy },
): Promise<Deployed> {
  const engine = await Engine.create(model);
  try {
    const figures: Partial<Record<Deployment, PolicyFigures>> = {};
    for (const deployment of deployments) {
      figures[deployment] = await evaluatePolicy({
        task: cupsTask,
        text: policyText,
        engine,
        exitPolicy: parseExitPolicy(deployment),
        kvPolicy,
        maxNewTokens: MAX_NEW_TOKENS,
        problems,
        seed: SEED,
        rewardTimeoutMs: 1000,
      });
    }
    return figures;
  } finally {
    await engine.dispose();
  }
}

const FIGURES = ['reward', 'meanDepth', 'executedShare'] as const;

/** Figures as a run's metrics keep them, by `DEPLOYMENT.FIGURE`. */
export const asEvaluation = (deployed: Deployed): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(deployed).flatMap(([deployment, figures]) =>
      FIGURES.map((figure) => [`${deployment}.${figure}`, figures[figure]]),
    ),
  );

/** The way back. */
export const fromEvaluation = (
  evaluation: Readonly<Record<string, number | readonly number[]>>,
): Deployed =>
  Object.fromEntries(
    FINAL_DEPLOYMENTS.filter((name) => `${name}.reward` in evaluation).map((name) => [
      name,
      Object.fromEntries(FIGURES.map((figure) => [figure, evaluation[`${name}.${figure}`]])),
    ]),
  ) as Deployed;
