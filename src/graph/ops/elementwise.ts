/**
 * Operations on single elements, with NumPy broadcasting: arithmetic, comparisons, `where`, and the
 * functions a language model needs.
 */
import { ShapeError } from '../../errors.js';
import { ONNX_ELEMENT_TYPE } from '../onnx/element-type.js';
import { attribute, defineOp } from '../op.js';
import type { DType, Tensor } from '../tensor.js';
import { broadcastShapes, scalar, showShape } from '../tensor.js';
import { sumTo } from './layout.js';

type Operand = Tensor | number;

const operand = (value: Operand): Tensor => (typeof value === 'number' ? scalar(value) : value);

function inferBinary(name: string, [a, b]: readonly Tensor[], result?: DType) {
  if (a!.dtype !== b!.dtype) {
    throw new ShapeError(`${name}: operands are ${a!.dtype} and ${b!.dtype}; cast one of them.`);
  }
  return { dtype: result ?? a!.dtype, shape: broadcastShapes(a!.shape, b!.shape, name) };
}

function arithmetic(
  name: string,
  onnx: string,
  gradient: (a: Tensor, b: Tensor, grad: Tensor, node: Tensor) => readonly [Tensor, Tensor],
): (a: Operand, b: Operand) => Tensor {
  const op = defineOp({
    name,
    infer: (inputs) => inferBinary(name, inputs),
    gradient(node, grad) {
      const [a, b] = node.inputs as [Tensor, Tensor];
      const [gradA, gradB] = gradient(a, b, grad, node);
      return [sumTo(gradA, a.shape), sumTo(gradB, b.shape)];
    },
    lower: (_, inputs, context) => context.emit(onnx, inputs),
  });
  return (a, b) => op([operand(a), operand(b)]);
}

export const add = arithmetic('add', 'Add', (_a, _b, grad) => [grad, grad]);
export const sub = arithmetic('sub', 'Sub', (_a, _b, grad) => [grad, neg(grad)]);
export const mul = arithmetic('mul', 'Mul', (a, b, grad) => [mul(grad, b), mul(grad, a)]);
export const div = arithmetic('div', 'Div', (_a, b, grad, node) => {
  const scaled = div(grad, b);
  return [scaled, neg(mul(scaled, node))];
});

function unary(
  name: string,
  onnx: string,
  gradient: (node: Tensor, grad: Tensor, x: Tensor) => Tensor,
): (x: Tensor) => Tensor {
  const op = defineOp({
    name,
    infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
    gradient: (node, grad) => [gradient(node, grad, node.inputs[0]!)],
    lower: (_, inputs, context) => context.emit(onnx, inputs),
  });
  return (x) => op([x]);
}

export const neg = unary('neg', 'Neg', (_, grad) => neg(grad));
export const exp = unary('exp', 'Exp', (y, grad) => mul(grad, y));
export const log = unary('log', 'Log', (_, grad, x) => div(grad, x));
export const sqrt = unary('sqrt', 'Sqrt', (y, grad) => div(mul(grad, 0.5), y));
export const sigmoid = unary('sigmoid', 'Sigmoid', (y, grad) => mul(grad, mul(y, sub(1, y))));
/** log(1 + e^x), without overflow. */
export const softplus = unary('softplus', 'Softplus', (_, grad, x) => mul(grad, sigmoid(x)));

const siluOp = defineOp({
  name: 'silu',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
  gradient(node, grad) {
    const x = node.inputs[0]!;
    const s = sigmoid(x);
    // d/dx [x s] = s + x s (1 - s) = s + y (1 - s)
    return [mul(grad, add(s, mul(node, sub(1, s))))];
  },
  lower: (_, [x], context) => context.emit('Mul', [x!, context.emit('Sigmoid', [x!])]),
});

/** x * sigmoid(x). */
export const silu = (x: Tensor): Tensor => siluOp([x]);

/** log sigmoid(x) = -softplus(-x), exact for large negative x. */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)));

function comparison(
  name: string,
  onnx: string,
  operandType?: DType,
): (a: Tensor, b: Tensor) => Tensor {
  const op = defineOp({
    name,
    infer(inputs) {
      const { dtype } = inputs[0]!;
      if (operandType && dtype !== operandType) {
        throw new ShapeError(`${name}: operands are ${dtype}; they must be ${operandType}.`);
      }
      return inferBinary(name, inputs, 'bool');
    },
    lower: (_, inputs, context) => context.emit(onnx, inputs),
  });
  return (a, b) => op([a, b]);
}

export const equal = comparison('equal', 'Equal');
export const less = comparison('less', 'Less');
export const greaterOrEqual = comparison('greaterOrEqual', 'GreaterOrEqual');
/** Both of two bools. */
export const and = comparison('and', 'And', 'bool');

const whereOp = defineOp({
  name: 'where',
  infer(inputs) {
    const [condition, a, b] = inputs as [Tensor, Tensor, Tensor];
    if (condition.dtype !== 'bool') {
      throw new ShapeError(`where: the condition is ${condition.dtype}; it must be bool.`);
    }
    const { dtype, shape } = inferBinary('where', [a, b]);
    return { dtype, shape: broadcastShapes(condition.shape, shape, 'where') };
  },
  gradient(node, grad) {
    const [condition, a, b] = node.inputs as [Tensor, Tensor, Tensor];
    return [
      undefined,
      sumTo(where(condition, grad, 0), a.shape),
      sumTo(where(condition, 0, grad), b.shape),
    ];
  },
  lower: (_, inputs, context) => context.emit('Where', inputs),
});

/** `a` where the condition holds, `b` elsewhere. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  return whereOp([condition, operand(a), operand(b)]);
}

const castOp = defineOp({
  name: 'cast',
  infer: ([x], { to }) => ({ dtype: to as DType, shape: x!.shape }),
  gradient(node, grad) {
    const from = node.inputs[0]!.dtype;
    return [from === 'f32' || from === 'f16' ? cast(grad, from) : undefined];
  },
  lower: (node, inputs, context) =>
    context.emit('Cast', inputs, { to: ONNX_ELEMENT_TYPE[attribute<DType>(node, 'to')] }),
});

/** Converts the element type. Gradients flow between float types only. */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : castOp([x], { to });
}

const stopGradientOp = defineOp({
  name: 'stopGradient',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
  lower: (_, [x]) => x!,
});

/** The same value, through which no gradient flows. */
export const stopGradient = (x: Tensor): Tensor => stopGradientOp([x]);

const barrierOp = defineOp({
  name: 'barrier',
  infer: ([x]) => ({ dtype: x!.dtype, shape: x!.shape }),
  gradient: (_, grad) => [grad],
  lower(_, [x, ...signals], context) {
    const [zero, one] = [context.int64([0]), context.int64([1])];
    const numbers = signals.map((signal) => {
      const flat = context.emit('Reshape', [signal, context.int64([-1])]);
      return context.emit('Squeeze', [context.emit('Slice', [flat, zero, one, zero]), zero]);
    });
    const sum = numbers.reduce((total, number) => context.emit('Add', [total, number]));
    return context.emit('Add', [x!, context.emit('Mul', [sum, context.float(0)])]);
  },
});

/**
 * The value of `x`, available only after all `signals` have been computed. This orders work and
 * keeps two equal computations apart; gradient.ts needs both. All operands are f32.
 */
export function barrier(x: Tensor, ...signals: readonly Tensor[]): Tensor {
  for (const { dtype, shape } of [x, ...signals]) {
    if (dtype !== 'f32') {
      throw new ShapeError(`barrier: got ${dtype} ${showShape(shape)}; every operand must be f32.`);
    }
  }
  return signals.length === 0 ? x : barrierOp([x, ...signals]);
}
