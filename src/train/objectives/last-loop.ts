/** Plain cross-entropy at full depth; docs/math.md (cross-entropy). */
import type { ObjectiveDefinition } from './objective.js';

export interface LastLoopSettings {
  readonly kind: 'last-loop';
}

export function lastLoop(): ObjectiveDefinition {
  return {
    kind: 'last-loop',
    needsGate: false,
    minLoops: 1,
    trains: 'all',
    extraInputs: [],
    loss: ({ tokenLosses, mean }) => mean(tokenLosses.at(-1)!),
  };
}
