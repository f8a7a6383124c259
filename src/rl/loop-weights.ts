/**
 * Weights of the loops that are learnt beside the model: the softmax of one number for each loop, which
 * Adam changes at ten times the model's rate. Source: RLTT (arXiv 2602.10520).
 */
import { z } from 'zod';

const RATE_FACTOR = 10;
const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8] as const;

const savedSchema = z.strictObject({
  updates: z.int(),
  logits: z.array(z.number()),
  first: z.array(z.number()),
  second: z.array(z.number()),
});

export class LoopWeights {
  #state: z.output<typeof savedSchema>;

  constructor(numLoops: number) {
    const zeros = () => Array.from({ length: numLoops }, () => 0);
    this.#state = { updates: 0, logits: zeros(), first: zeros(), second: zeros() };
  }

  /** By loop; they sum to 1. */
  get values(): readonly number[] {
    const { logits } = this.#state;
    const exps = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
    const total = exps.reduce((sum, value) => sum + value, 0);
    return exps.map((value) => value / total);
  }

  /** @param slopes - derivative of the loss by each weight, as if they were free */
  update(slopes: readonly number[], learningRate: number): void {
    const { values } = this;
    const mean = values.reduce((sum, value, loop) => sum + value * slopes[loop]!, 0);
    const gradients = values.map((value, loop) => value * (slopes[loop]! - mean));
    const updates = this.#state.updates + 1;
    const first = gradients.map((g, loop) => BETA1 * this.#state.first[loop]! + (1 - BETA1) * g);
    const second = gradients.map(
      (g, loop) => BETA2 * this.#state.second[loop]! + (1 - BETA2) * g * g,
    );
    const logits = this.#state.logits.map((logit, loop) => {
      const direction = first[loop]! / (1 - BETA1 ** updates);
      const scale = Math.sqrt(second[loop]! / (1 - BETA2 ** updates)) + EPSILON;
      return logit - (RATE_FACTOR * learningRate * direction) / scale;
    });
    this.#state = { updates, logits, first, second };
  }

  /** As JSON, for a snapshot. */
  save(): unknown {
    return this.#state;
  }

  restore(saved: unknown): void {
    this.#state = savedSchema.parse(saved);
  }
}
