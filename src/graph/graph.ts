/**
 * A graph: named outputs and everything they need, cleaned up once and in a fixed order.
 *
 * Building it drops what no output depends on, removes operations that only pass a value on, and
 * merges equal computations. It is data: the ONNX writer and the tests' interpreter both read it.
 */
import { ConfigError } from '../errors.js';
import { ancestors } from './gradient.js';
import type { Tensor } from './tensor.js';
import { createTensor } from './tensor.js';

export interface Graph {
  /** All tensors, inputs before their users. */
  readonly nodes: readonly Tensor[];
  readonly inputs: readonly Tensor[];
  readonly parameters: readonly Tensor[];
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/**
 * Builds a graph from its outputs.
 *
 * @throws ConfigError if two inputs, parameters or outputs share a name
 */
export function buildGraph(outputs: Readonly<Record<string, Tensor>>): Graph {
  const kept = new Map<number, Tensor>();
  const byKey = new Map<string, Tensor>();
  for (const node of ancestors(Object.values(outputs))) {
    kept.set(node.id, simplify(node, kept, byKey));
  }
  const finalOutputs = Object.fromEntries(
    Object.entries(outputs).map(([name, { id }]) => [name, kept.get(id)!]),
  );
  const nodes = ancestors(Object.values(finalOutputs));
  const inputs = nodes.filter(({ op }) => op === 'input');
  const parameters = nodes.filter(({ op }) => op === 'parameter');
  const leaves = [...inputs, ...parameters].map((x) => x.attributes['name'] as string);
  checkNames([...leaves, ...Object.keys(outputs)]);
  return { nodes, inputs, parameters, outputs: finalOutputs };
}

const PASS_THROUGH = new Set(['stopGradient', 'recompute', 'withGradient']);

function simplify(
  node: Tensor,
  kept: ReadonlyMap<number, Tensor>,
  byKey: Map<string, Tensor>,
): Tensor {
  const inputs = node.inputs.map(({ id }) => kept.get(id)!);
  if (PASS_THROUGH.has(node.op)) return inputs[0]!;
  const key = nodeKey(node, inputs);
  const twin = key === undefined ? undefined : byKey.get(key);
  if (twin) return twin;
  const changed = inputs.some((input, index) => input !== node.inputs[index]);
  const { id: _, ...fields } = node;
  const result = changed ? createTensor({ ...fields, inputs }) : node;
  if (key !== undefined) byKey.set(key, result);
  return result;
}

/** Equal keys mean equal values. Inputs and parameters stand for themselves. */
function nodeKey(node: Tensor, inputs: readonly Tensor[]): string | undefined {
  if (node.op === 'input' || node.op === 'parameter') return undefined;
  if (node.op === 'constant') {
    if (node.data!.length > 64) return undefined;
    return `constant ${node.dtype} [${node.shape.join()}] ${[...node.data!].map(exactNumber).join()}`;
  }
  const attributes = Object.entries(node.attributes).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${node.op} ${inputs.map(({ id }) => id).join()} ${JSON.stringify(attributes)} [${node.shape.join()}]`;
}

const exactNumber = (value: number | bigint): string => (Object.is(value, -0) ? '-0' : `${value}`);

function checkNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) {
      throw new ConfigError(
        name,
        `graph: the name "${name}" is used twice; inputs, parameters and outputs need distinct names.`,
      );
    }
    seen.add(name);
  }
}
