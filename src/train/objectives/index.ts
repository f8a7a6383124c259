/** Objectives by the settings that name them. A new one is a file here and a line in this table. */
import { ConfigError } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import { hasExitGate } from '../../model/index.js';
import type { LastLoopSettings } from './last-loop.js';
import { lastLoop } from './last-loop.js';
import type { ObjectiveDefinition } from './objective.js';
import type { Stage1Settings } from './stage-1.js';
import { stage1 } from './stage-1.js';
import type { Stage2Settings } from './stage-2.js';
import { stage2 } from './stage-2.js';

export type { ExitInput, ExtraInput, LossParts, ObjectiveDefinition } from './objective.js';

export type { ExitSettings } from './stage-1.js';
export { EXIT_QUANTILE } from './stage-1.js';

/** What is minimised, as a file says it. */
export type ObjectiveSettings = Stage1Settings | Stage2Settings | LastLoopSettings;
/** What is minimised: settings, or an objective of one's own. */
export type Objective = ObjectiveSettings | ObjectiveDefinition;

export function objectiveOf(objective: Objective): ObjectiveDefinition {
  if ('loss' in objective) return objective;
  switch (objective.kind) {
    case 'stage-1':
      return stage1(objective);
    case 'stage-2':
      return stage2(objective);
    case 'last-loop':
      return lastLoop();
    default:
      return objective satisfies never;
  }
}

/** @throws ConfigError for an objective that the model has no gate or too few loops for */
export function checkObjective(config: LoopLMConfig, objective: Objective): void {
  const { kind, needsGate, minLoops } = objectiveOf(objective);
  if (needsGate && !hasExitGate(config)) {
    throw new ConfigError(
      'objective',
      `objective is ${kind}, which trains an exit gate, and models of the architecture ${config.architecture} have none; use last-loop.`,
    );
  }
  if (config.numLoops < minLoops) {
    throw new ConfigError(
      'objective',
      `objective is ${kind} and the model has ${config.numLoops} loop${config.numLoops > 1 ? 's' : ''}; its gate has nothing to decide. Use last-loop, or a model with more loops.`,
    );
  }
}
