/** What the experiments teach, in words; figures are in the tables beside them. */
import type { ExperimentName } from '../arms.js';

export const FINDINGS: Readonly<Record<ExperimentName, string>> = {
  'rl-fixed-path': '',
  'rl-depth': '',
  'rl-objectives': '',
  'rl-throughput': '',
};
