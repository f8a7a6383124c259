/**
 * What a step costs, learnt from the steps that were run: so much whatever is in it, so much for each
 * row, so much for each readout.
 *
 * Least squares over the recent past, older steps counting less and less. What was never varied is
 * taken to be free, so that it is tried.
 */

/** What was in a step. */
export interface StepLoad {
  /** Sequences. */
  readonly streams: number;
  /** Loops of tokens. */
  readonly rows: number;
  readonly readouts: number;
}

/** Milliseconds. */
export interface CostOfParts {
  readonly step: number;
  readonly row: number;
  readonly readout: number;
}

/** What a step counts for after each further one. */
const MEMORY = 0.98;

/** Pulls what is not known towards 0, in squares of rows. */
const RIDGE = 0.01;

export class StepCost {
  /** Of the unknowns (step, row, readout): sums of products with each other and with the time. */
  readonly #products = Array.from({ length: 3 }, () => [0, 0, 0]);
  readonly #times = [0, 0, 0];
  #streams = 1;

  /** Notes a step that took so long. */
  note({ streams, rows, readouts }: StepLoad, milliseconds: number): void {
    const known = [1, rows, readouts];
    for (const [i, value] of known.entries()) {
      this.#times[i] = MEMORY * this.#times[i]! + value * milliseconds;
      for (const [j, other] of known.entries()) {
        this.#products[i]![j] = MEMORY * this.#products[i]![j]! + value * other;
      }
    }
    this.#streams = MEMORY * this.#streams + (1 - MEMORY) * streams;
  }

  /** Sequences that share a step, on average. */
  get streams(): number {
    return this.#streams;
  }

  /** Of a step with one row before anything was seen: 1, nothing else costs. */
  get parts(): CostOfParts {
    if (this.#times[0] === 0) return { step: 1, row: 0, readout: 0 };
    const [step, row, readout] = solve(
      this.#products.map((line, i) => line.map((sum, j) => sum + (i === j && i > 0 ? RIDGE : 0))),
      this.#times,
    );
    return { step: Math.max(0, step!), row: Math.max(0, row!), readout: Math.max(0, readout!) };
  }
}

/** Solves a symmetric positive system by elimination. */
function solve(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((line, i) => [...line, right[i]!]);
  for (const [i, pivot] of rows.entries()) {
    for (const [j, other] of rows.entries()) {
      if (i === j || pivot[i] === 0) continue;
      const factor = other[i]! / pivot[i]!;
      for (let k = i; k < other.length; k++) other[k]! -= factor * pivot[k]!;
    }
  }
  return rows.map((line, i) => (line[i] === 0 ? 0 : line.at(-1)! / line[i]!));
}
