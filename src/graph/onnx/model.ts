/**
 * Writes a graph as an ONNX model.
 *
 * Weights go into the model itself or, past a limit, beside it as external data, since one protobuf
 * message ends at 2 GB. Weights that lie in files already stay there and are named by file and offset. Field numbers are those of onnx.proto (IR version 10).
 */
import { bytesOf } from '../../util/bytes-of.js';
import type { Graph } from '../graph.js';
import type { ConstantTensor, LoweringContext, OnnxAttributes } from '../op.js';
import { findOp } from '../op.js';
import type { DType, FileRange, Shape, Tensor, TensorData } from '../tensor.js';
import { ONNX_ELEMENT_TYPE } from './element-type.js';
import { MessageWriter } from './protobuf.js';

const IR_VERSION = 10;
const OPSET_VERSION = 21;
/** Above this many bytes of weights they are written beside the model. */
const DEFAULT_INLINE_LIMIT_BYTES = 2 ** 30;
/** Name that a model gives to the file of its external data. */
const EXTERNAL_LOCATION = 'weights.bin';
/** Loaders map external data page by page. */
const EXTERNAL_ALIGNMENT_BYTES = 4096;

export interface OnnxOptions {
  /** Weights of more bytes than this in total become external data. */
  readonly inlineLimitBytes?: number;
}

/** One tensor of the external data file. */
export interface ExternalTensor {
  readonly name: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface OnnxModel {
  readonly bytes: Uint8Array;
  /** Present when weights live outside: the content of the file named `location`. */
  readonly external?: {
    readonly location: string;
    readonly sizeBytes: number;
    readonly tensors: readonly ExternalTensor[];
  };
}

/** Lowers every operation of a graph and serialises the result. */
export function writeOnnx(graph: Graph, options: OnnxOptions = {}): OnnxModel {
  const { inlineLimitBytes = DEFAULT_INLINE_LIMIT_BYTES } = options;
  const weightBytes = graph.parameters.reduce((sum, { data }) => sum + (data?.byteLength ?? 0), 0);
  const external: ExternalTensor[] | undefined = weightBytes > inlineLimitBytes ? [] : undefined;
  const lowering = new Lowering();
  for (const node of graph.nodes) lowering.add(node);

  let externalSize = 0;
  const model = new MessageWriter();
  model.int(1, IR_VERSION).string(2, 'looplm');
  model.message(7, (body) => {
    for (const node of lowering.nodes) body.message(1, (writer) => writeNode(writer, node));
    for (const [name, tensor] of Object.entries(graph.outputs)) {
      body.message(1, (writer) =>
        writeNode(writer, {
          opType: 'Identity',
          inputs: [lowering.nameOf(tensor)],
          outputs: [name],
          attributes: {},
          domain: '',
        }),
      );
    }
    body.string(2, 'looplm');
    for (const item of lowering.initializers) {
      body.message(5, (writer) => {
        for (const dim of item.shape) writer.int(1, dim);
        writer.int(2, ONNX_ELEMENT_TYPE[item.dtype]).string(8, item.name);
        if (item.range) return writeExternal(writer, item.range);
        const bytes = bytesOf(item.data!);
        if (!external || !item.isParameter) return void writer.bytes(9, bytes);
        const offset = alignUp(externalSize, EXTERNAL_ALIGNMENT_BYTES);
        external.push({ name: item.name, offset, bytes });
        externalSize = offset + bytes.byteLength;
        return writeExternal(writer, {
          file: EXTERNAL_LOCATION,
          offset,
          byteLength: bytes.byteLength,
        });
      });
    }
    for (const { dtype, shape, attributes } of graph.inputs) {
      body.message(11, (w) => writeValueInfo(w, attributes['name'] as string, dtype, shape));
    }
    for (const [name, { dtype, shape }] of Object.entries(graph.outputs)) {
      body.message(12, (writer) => writeValueInfo(writer, name, dtype, shape));
    }
  });
  model.message(8, (opset) => opset.string(1, '').int(2, OPSET_VERSION));
  model.message(8, (opset) => opset.string(1, 'com.microsoft').int(2, 1));
  const bytes = model.finish();
  return external
    ? {
        bytes,
        external: { location: EXTERNAL_LOCATION, sizeBytes: externalSize, tensors: external },
      }
    : { bytes };
}

interface OnnxNode {
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: OnnxAttributes;
  readonly domain: string;
}

interface Initializer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** One of the two is there. */
  readonly data?: TensorData | undefined;
  readonly range?: FileRange | undefined;
  readonly isParameter: boolean;
}

/** Collects the ONNX nodes and constants of a graph. */
class Lowering implements LoweringContext {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: Initializer[] = [];
  readonly #names = new Map<number, string>();
  readonly #shared = new Map<string, string>();
  /** Names of the outputs of a node; more may be asked for later. */
  readonly #outputs = new Map<string, string[]>();
  #count = 0;

  add(node: Tensor): void {
    this.#names.set(node.id, this.#lower(node));
  }

  nameOf(node: Tensor): string {
    return this.#names.get(node.id)!;
  }

  emit(opType: string, inputs: readonly string[], attributes: OnnxAttributes = {}, domain = '') {
    return this.emitMany(opType, inputs, 1, attributes, domain)[0]!;
  }

  emitMany(
    opType: string,
    inputs: readonly string[],
    numOutputs: number,
    attributes: OnnxAttributes = {},
    domain = '',
  ): readonly string[] {
    const key = `${domain} ${opType} ${inputs.join()} ${JSON.stringify(attributes)}`;
    let outputs = this.#outputs.get(key);
    if (!outputs) {
      outputs = [];
      this.#outputs.set(key, outputs);
      this.nodes.push({ opType, inputs, outputs, attributes, domain });
    }
    while (outputs.length < numOutputs) outputs.push(this.#fresh(opType));
    return outputs.slice(0, numOutputs);
  }

  int64(values: readonly number[]): string {
    return this.constant(`i64 ${values.join()}`, {
      dtype: 'i64',
      shape: [values.length],
      data: BigInt64Array.from(values, BigInt),
    });
  }

  float(value: number): string {
    return this.constant(`f32 ${value}`, {
      dtype: 'f32',
      shape: [],
      data: Float32Array.of(value),
    });
  }

  constant(key: string, value: ConstantTensor): string {
    let name = this.#shared.get(key);
    if (name === undefined) {
      name = this.#fresh('constant');
      this.#shared.set(key, name);
      this.initializers.push({ ...value, name, isParameter: false });
    }
    return name;
  }

  #lower(node: Tensor): string {
    if (node.op === 'input') return node.attributes['name'] as string;
    if (node.op === 'constant' || node.op === 'parameter') {
      const isParameter = node.op === 'parameter';
      const name = isParameter ? (node.attributes['name'] as string) : this.#fresh('constant');
      const shape = node.shape as readonly number[];
      const { dtype, data, range } = node;
      this.initializers.push({ name, dtype, shape, data, range, isParameter });
      return name;
    }
    const inputs = node.inputs.map((x) => this.nameOf(x));
    return findOp(node.op)!.lower(node, inputs, this);
  }

  #fresh(hint: string): string {
    return `${hint}#${this.#count++}`;
  }
}

function writeNode(writer: MessageWriter, node: OnnxNode): void {
  for (const name of node.inputs) writer.string(1, name);
  for (const name of node.outputs) writer.string(2, name);
  writer.string(3, node.outputs[0]!).string(4, node.opType);
  for (const [name, value] of Object.entries(node.attributes)) {
    writer.message(5, (attribute) => writeAttribute(attribute, name, value));
  }
  if (node.domain) writer.string(7, node.domain);
}

function writeAttribute(writer: MessageWriter, name: string, value: OnnxAttributes[string]): void {
  writer.string(1, name);
  if (typeof value === 'number') writer.int(3, value).int(20, 2);
  else if (typeof value === 'string') writer.string(4, value).int(20, 3);
  else if ('float' in value) writer.float(2, value.float).int(20, 1);
  else {
    for (const item of value) writer.int(8, item);
    writer.int(20, 7);
  }
}

function writeValueInfo(writer: MessageWriter, name: string, dtype: DType, shape: Shape): void {
  writer.string(1, name).message(2, (type) =>
    type.message(1, (tensor) =>
      tensor.int(1, ONNX_ELEMENT_TYPE[dtype]).message(2, (dims) => {
        for (const dim of shape) {
          dims.message(1, (entry) =>
            typeof dim === 'number' ? entry.int(1, dim) : entry.string(2, dim),
          );
        }
      }),
    ),
  );
}

function writeExternal(writer: MessageWriter, { file, offset, byteLength }: FileRange): void {
  writeExternalEntry(writer, 'location', file);
  writeExternalEntry(writer, 'offset', String(offset));
  writeExternalEntry(writer, 'length', String(byteLength));
  writer.int(14, 1);
}

function writeExternalEntry(writer: MessageWriter, key: string, value: string): void {
  writer.message(13, (entry) => entry.string(1, key).string(2, value));
}

const alignUp = (size: number, alignment: number) => Math.ceil(size / alignment) * alignment;
