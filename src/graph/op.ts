/**
 * The op table. An operation is one entry: how its shape follows from its inputs, how a gradient
 * flows back through it, and which ONNX nodes it becomes.
 *
 * `defineOp` adds the entry and returns the function that builds tensors of it. Gradient rules are
 * written with the same op functions as models are.
 */
import type { AttributeValue, Attributes, DType, Shape, Tensor, TensorData } from './tensor.js';
import { createTensor } from './tensor.js';

/** Emits ONNX nodes for one operation; names are strings of the ONNX graph. */
export interface LoweringContext {
  /** Adds a node with one output and returns the output's name. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes?: OnnxAttributes,
    domain?: string,
  ): string;
  /**
   * Adds a node with several outputs and returns their names. A node of the same kind, inputs and
   * attributes is there once, whichever of its outputs is asked for.
   */
  emitMany(
    opType: string,
    inputs: readonly string[],
    numOutputs: number,
    attributes?: OnnxAttributes,
    domain?: string,
  ): readonly string[];
  /** Name of an int64 vector constant (shapes, axes, bounds). */
  int64(values: readonly number[]): string;
  /** Name of an f32 scalar constant. */
  float(value: number): string;
  /** Name of any constant; those with the same key are one. */
  constant(key: string, value: ConstantTensor): string;
}

export interface ConstantTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Integers are written as ONNX INT, `{ float }` as FLOAT, arrays as INTS, strings as STRING. */
export type OnnxAttributes = Readonly<
  Record<string, number | string | readonly number[] | { readonly float: number }>
>;

export interface OpDefinition {
  readonly name: string;
  infer(
    inputs: readonly Tensor[],
    attributes: Attributes,
  ): { readonly dtype: DType; readonly shape: Shape };
  /**
   * Gradients with respect to each input, given the gradient of the output; `undefined` where none
   * flows. Absent when no input is differentiable.
   */
  gradient?(node: Tensor, grad: Tensor): readonly (Tensor | undefined)[];
  /** Adds the ONNX nodes and returns the name of the result. */
  lower(node: Tensor, inputs: readonly string[], context: LoweringContext): string;
}

const table = new Map<string, OpDefinition>();

/** Adds an operation to the table; the returned function infers the shape and builds the tensor. */
export function defineOp(
  definition: OpDefinition,
): (inputs: readonly Tensor[], attributes?: Attributes) => Tensor {
  if (table.has(definition.name)) throw new Error(`op ${definition.name} is defined twice`);
  table.set(definition.name, definition);
  return (inputs, attributes = {}) =>
    createTensor({
      op: definition.name,
      inputs,
      attributes,
      ...definition.infer(inputs, attributes),
    });
}

/** The table entry of an operation, undefined for the leaves. */
export function findOp(name: string): OpDefinition | undefined {
  return table.get(name);
}

/** Names of all operations, in the order of definition. */
export function opNames(): readonly string[] {
  return [...table.keys()];
}

/** Reads an attribute whose type the op's own constructor guarantees. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- names the type of a cast
export function attribute<T extends AttributeValue>(node: Tensor, name: string): T {
  return node.attributes[name] as T;
}
