/**
 * An exponential average of the weights beside any optimizer: less noisy than the weights themselves.
 *
 * It is a slot like any other. Early averages look back less far than the decay says, since there is
 * little to look back on. docs/math.md (weight-averaging).
 */
import { add, mul, sub } from '../../graph/index.js';
import type { Optimizer } from './optimizer.js';

/** Slot that holds the average. */
export const AVERAGE = 'average';

export function averaged(optimizer: Optimizer, decay: number): Optimizer {
  return {
    ...optimizer,
    slots: (spec) => [...optimizer.slots(spec), { name: AVERAGE, starts: 'as the weight' }],
    scalars: (moment) => ({
      ...optimizer.scalars(moment),
      averageDecay: Math.min(decay, (moment.trainStep + 2) / (moment.trainStep + 11)),
    }),
    step(update) {
      const { param, slots } = optimizer.step(update);
      const before = update.slot(AVERAGE);
      // from the average towards the weight: of equal ones the average stays to the bit
      const part = sub(1, update.scalar('averageDecay'));
      const average = add(before, mul(sub(param, before), part));
      return { param, slots: { ...slots, [AVERAGE]: average } };
    },
  };
}
