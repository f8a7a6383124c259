/** The tasks of the model; another one is another entry. */
import type { TaskDefinition } from '../problem.js';
import { clocks, days } from './calendar.js';
import { cups } from './cups.js';
import { facts } from './facts.js';
import { ordering } from './ordering.js';
import { relations } from './relations.js';
import { sums } from './sums.js';
import { talk } from './talk.js';

export const TASKS: readonly TaskDefinition[] = [
  relations,
  cups,
  sums,
  days,
  clocks,
  ordering,
  facts,
  talk,
];

export const TASK_NAMES: readonly string[] = TASKS.map(({ name }) => name);

/** Begins alone, up to its last lesson: mixed with the others its hops are found late or never. */
export const FIRST_TASK = {
  task: relations.name,
  lesson: relations.lessons.length,
  latest: 3000,
};
