/**
 * Random straight-line programs over tensors of one shape, with nested regions. Values stay near
 * one whatever the program does, so that float32 and finite differences can follow.
 */
import fc from 'fast-check';
import type { Tensor } from 'looplm/graph';
import * as g from 'looplm/graph';
import type { Feeds } from './support.js';
import { value } from './interpreter.js';

const DIMS = [2, 3] as const;
const INPUT_NAMES = ['x', 'y', 'weight'] as const;

interface Instruction {
  readonly kind: number;
  /** Operands, counted back from the newest value. */
  readonly a: number;
  readonly b: number;
  /** Present for a region. */
  readonly body: Program | undefined;
}
export type Program = readonly Instruction[];

const KINDS: readonly ((a: Tensor, b: Tensor) => Tensor)[] = [
  (a, b) => g.mul(g.add(a, b), 0.5),
  (a, b) => g.mul(a, g.sigmoid(b)),
  (a, b) => g.sub(g.silu(a), b),
  (a, b) => g.matmul(g.softmax(g.matmul(a, b, { transposeB: true, alpha: 0.5 })), b),
  (a) => g.softmax(a),
  (a, b) => g.rmsNorm(a, g.reshape(g.slice(b, 0, 1, 2), [3]), 0.25),
  (a, b) => g.concat([g.slice(a, 1, 1, 3), g.slice(b, 1, 0, 1)], 1),
  (a, b) => g.add(g.exp(g.neg(g.sigmoid(a))), g.mul(g.reduceSum(b, [0], true), 0.25)),
  (a, b) => g.gatherRows(g.add(a, b), g.constant(Int32Array.of(1, 1), [2], 'i32')),
];

const { program } = fc.letrec<{ program: Program; instruction: Instruction }>((tie) => ({
  program: fc.array(tie('instruction'), { minLength: 1, maxLength: 5 }),
  instruction: fc.record({
    kind: fc.nat(KINDS.length - 1),
    a: fc.nat(5),
    b: fc.nat(5),
    body: fc.option(tie('program'), { nil: undefined, maxDepth: 2, depthSize: 'small' }),
  }),
}));
export { program };

export const programFeeds: fc.Arbitrary<Feeds> = fc
  .array(fc.integer({ min: -512, max: 512 }), { minLength: 18, maxLength: 18 })
  .map((numbers) =>
    Object.fromEntries(
      INPUT_NAMES.map((name, index) => [
        name,
        value(
          DIMS,
          numbers.slice(6 * index, 6 * index + 6).map((n) => n / 256),
        ),
      ]),
    ),
  );

/** A scalar computed by a program, from fresh inputs. @param region - how a body is built */
export function buildProgram(
  instructions: Program,
  region: typeof g.recompute = g.recompute,
): { readonly loss: Tensor; readonly inputs: readonly Tensor[] } {
  const inputs = INPUT_NAMES.map((name) => g.input(name, 'f32', DIMS));
  const last = run(instructions, inputs, region).at(-1)!;
  return { loss: g.reduceSum(g.mul(last, last)), inputs };
}

/** All values after running the instructions, the given ones first. */
function run(
  instructions: Program,
  given: readonly Tensor[],
  region: typeof g.recompute,
): readonly Tensor[] {
  return instructions.reduce((values, { kind, a, b, body }) => {
    const left = values.at(-1 - (a % values.length))!;
    const right = values.at(-1 - (b % values.length))!;
    const next = body
      ? region((own) => run(body, [...values, ...own], region).at(-1)!, [left, right])
      : KINDS[kind]!(left, right);
    return [...values, next];
  }, given);
}
