/**
 * The figures of the bundled model as data: what evaluation.json and comparison.json hold.
 *
 * The one idea: measuring writes these files and reporting reads them, so no number in a text is
 * typed by hand. The figures of a task are means over its questions; overall ones are means over tasks.
 */
import { readTextFile } from 'looplm/node';
import { FileError } from 'looplm/errors';
import { PREFILL_MODES } from 'looplm/engine';
import { POLICY_FAMILIES } from 'looplm/eval';
import { z } from 'zod';
import { VARIANTS } from '../configs.js';
import { TASK_NAMES } from '../tasks/index.js';
import { KINDS } from './question-sets.js';

export const EVALUATION_FILE = 'evaluation.json';
export const COMPARISON_FILE = 'comparison.json';

/** Names of the exit gates in gates.safetensors; `own` where the model's gate is none of them. */
export const GATES = ['stage1', 'stage2-published', 'stage2-forward', 'stage2-everywhere'] as const;

const number = z.number();
const count = z.int();
const kind = z.enum(KINDS);
const task = z.enum(TASK_NAMES);
const byTask = <Value extends z.ZodType>(value: Value) => z.record(z.string(), value);
const point = z.strictObject({
  policy: z.enum(POLICY_FAMILIES),
  threshold: number.exactOptional(),
  meanDepth: number,
  accuracy: number,
});
/** Questions of one difficulty; accuracy at every depth that was run. */
const cell = z.strictObject({
  kind,
  task,
  difficulty: count,
  n: count,
  accuracyByDepth: z.array(number),
});
const gate = z.enum(GATES).or(z.literal('own'));
/** (token, loop) pairs as the engine counts them, prompts and deferred loops included. */
const loops = z.strictObject({ executedLoops: count, fullDepthLoops: count });

export const evaluationSchema = z.strictObject({
  provenance: z.strictObject({
    looplm: z.string(),
    onnxruntime: z.string(),
    seed: count,
    questionsPerDifficulty: count,
    streamedPerDifficulty: count,
  }),
  model: z.strictObject({
    parameters: count,
    numLoops: count,
    exitThreshold: number,
    /** Which gate the shipped weights hold. */
    gate,
  }),
  /** Uniform questions of trained difficulties, up to twice the trained loops. */
  trained: z.array(
    cell.extend({
      /** Under Q-exit at the shipped threshold with the shipped gate. */
      meanExitDepth: number,
      /** Fraction of answers that exit at depth 1..R. */
      exitShares: z.array(number),
    }),
  ),
  /** What training never showed: wordings, problems, countries at the start of a chain; and questions within a chat. */
  unseen: z.array(cell),
  /** Questions harder than any trained one. */
  longer: z.array(cell),
  /** Q-exit at the shipped threshold with the shipped gate, over all tasks. */
  shipped: point,
  /** Spearman's correlation of mean exit depth with difficulty there. */
  rankCorrelation: byTask(number),
  /** Every policy with the shipped gate under `per-loop`, exactly. */
  frontiers: z.array(point),
  /** Q-exit of each gate. */
  gates: z.array(
    z.strictObject({
      gate,
      points: z.array(point),
      pointsByTask: byTask(z.array(point)),
      /** The point of least depth with 99 % of the full-depth accuracy, over all tasks. */
      cheapest: point,
      /** Full depth and the cheapest point if every difficulty counts the same, not every question. */
      equalDifficulties: z.strictObject({ fullDepth: point, cheapest: point }),
      /** Mean depth if exits are drawn from the gate. */
      sampled: point,
      /** Of mean exit depth with difficulty, at `cheapest`. */
      rankCorrelation: byTask(number),
      /** Real runs under `last-exited` in which the tokens of the question exit, too. */
      adaptive: z.array(
        z.strictObject({ threshold: number, accuracy: number, executedFraction: number }),
      ),
    }),
  ),
  /**
   * Replies as a user gets them: uniform questions as prompts, generated to the end of the turn. A reply
   * is right if every word of it is; the depth is that of its tokens.
   */
  replies: z.array(
    point.extend({
      gate,
      prefill: z.enum(PREFILL_MODES),
      accuracyByTask: byTask(number),
      ...loops.shape,
    }),
  ),
  /** Real runs in which every token exits where the policy says. */
  streams: z.array(
    point.extend({
      kvPolicy: z.enum(['per-loop', 'last-exited', 'shared']),
      prefill: z.enum(PREFILL_MODES),
      /** Loops computed of those of full depth, over all tokens. */
      executedFraction: number,
    }),
  ),
});
export type Evaluation = z.infer<typeof evaluationSchema>;
export type GateName = z.infer<typeof gate>;
export type Cell = z.infer<typeof cell>;

export const comparisonSchema = z.strictObject({
  seed: count,
  /** Of the file of the shipped weights. */
  sha256: z.string(),
  models: z.array(
    z.strictObject({
      variant: z.enum(VARIANTS),
      seed: count,
      parameters: count,
      numHiddenLayers: count,
      numLoops: count,
      /** At full depth, for a token that sees 32 positions. */
      flopsPerToken: number,
      trainSteps: count,
      /** Tokens of all batches, padding included. */
      tokens: count,
      /** At full depth. */
      cells: z.array(z.strictObject({ kind, task, difficulty: count, n: count, accuracy: number })),
    }),
  ),
});
export type Comparison = z.infer<typeof comparisonSchema>;

/** Cells of a compared model, of all difficulties if none is named. */
export function comparedCells(
  { cells }: Comparison['models'][number],
  of: Pick<Cell, 'kind' | 'task'> & { readonly difficulty?: number | undefined },
) {
  return cells.filter(
    (one) =>
      one.kind === of.kind &&
      one.task === of.task &&
      (of.difficulty === undefined || one.difficulty === of.difficulty),
  );
}

/**
 * Reads a file of figures.
 *
 * @throws FileError if it is missing or holds something else
 */
export async function readFigures<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const result = schema.safeParse(JSON.parse(await readTextFile(path)));
  if (result.success) return result.data;
  throw new FileError(
    path,
    `${path} does not hold these figures: ${z.prettifyError(result.error).split('\n')[0]}. Measure again.`,
    { cause: result.error },
  );
}

/**
 * Figures as the text of a file: numbers rounded, by default to five places, and a line for each item
 * of a list.
 */
export function figuresToJson(
  figures: object,
  round: (value: number) => number = (value) => Number(value.toFixed(5)),
): string {
  const toText = (value: unknown) =>
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'number' ? round(inner) : inner,
    );
  const fields = Object.entries(figures).map(([name, value]: [string, unknown]) => {
    const items = Array.isArray(value) && value.map((item) => `\n    ${toText(item)}`).join(',');
    return `  "${name}": ${items ? `[${items}\n  ]` : toText(value)}`;
  });
  return `{\n${fields.join(',\n')}\n}\n`;
}
