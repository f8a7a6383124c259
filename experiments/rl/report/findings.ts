/** What the experiments teach, in words; figures are in the tables beside them. */
import type { ExperimentName } from '../arms.js';

const RATE =
  'Nothing gained on greedy replies: every arm, fixed depth too, ends below the start, and most of that is lost in the first ten updates. The rate of 3e-4 without a warm-up is probably too high for so small a signal (four to five of the eight groups of an update have answers that are all right or all wrong, and teach nothing where depth has no price); a lower rate and more answers were not tried.';

export const FINDINGS: Readonly<Record<ExperimentName, string>> = {
  'rl-fixed-path': `**The mismatch is shown, a loss of reward from it is not.** Rollouts that are replayed as they were drawn differ from what is trained by rounding alone; the two wrong trainers differ by a hundredth of a nat a token. All but one of a reply's tokens are nearly the same at every depth, so that most of it is at the hard word. In 40 updates it does not show in rewards: the arms end within the spread of the seeds of each other. ${RATE}`,
  'rl-depth': `**Why.** What depth as an action learns soon is that the easy words of a reply need one loop: the mean exit depth falls by a loop. The loops that run fall less, and only in some runs: under \`per-loop\` one word at full depth makes good what all words before it owe, the prompt's included, and the gate of the start lets the hard word exit early so rarely that there is little to learn from. What is given up meanwhile is reward: a price of depth is a steady pull, rewards of 64 answers are noise, and all weights move. ${RATE} At small depths the gate after RL is above that of stage I, which has no such points; the gates of stage II, which leave the model as it is, are above both.`,
  'rl-objectives': `${RATE} Times are of no use beyond their order of magnitude: other programs had most of both processors, at changing shares, while these runs were made.`,
  'rl-throughput': '',
};
