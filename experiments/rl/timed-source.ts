/** What an update's time goes to. */
import type { PolicySource } from 'looplm/train';

/**
 * The source, telling two numbers more of each update: seconds until its rollouts were drawn and judged,
 * and seconds from then on, of their replay and the change of the weights.
 */
export function timed(source: PolicySource, now: () => number): PolicySource {
  let [begun, drawn] = [0, 0];
  return {
    rows: source.rows,
    length: source.length,
    async batchesFor(moment) {
      begun = now();
      const batches = await source.batchesFor(moment);
      drawn = now();
      return batches;
    },
    learnt(outcome) {
      const updateSeconds = (now() - drawn) / 1000;
      return {
        ...source.learnt(outcome),
        rolloutSeconds: (drawn - begun) / 1000,
        updateSeconds,
      };
    },
    save: () => source.save(),
    restore: (saved) => source.restore(saved),
    release: () => source.release(),
  };
}
