/** What the measured processes send to their parent. */
import { z } from 'zod';
import { residentSchema } from '../lib/resident.js';

export const sampleSchema = z.object({
  /** Tokens generated, or models loaded and disposed. */
  count: z.number(),
  resident: residentSchema,
});

/** One sequence that grows. Plans are for the positions that it has at the time, in bytes. */
export const grownSchema = z.object({
  /** The plan for the whole run, as lines for people. */
  plan: z.array(z.string()),
  loaded: z.object({ planned: z.number(), resident: residentSchema }),
  samples: z.array(
    sampleSchema.extend({
      positions: z.number(),
      planned: z.number(),
      /** Of it keys and values. */
      plannedKv: z.number(),
    }),
  ),
});

export type Sample = z.infer<typeof sampleSchema>;
export type GrownSequence = z.infer<typeof grownSchema>;
