/**
 * Reads back as much of an ONNX file as the tests look at: its nodes and the names and sizes of its
 * initializers. Written from the protobuf encoding and onnx.proto, apart from the writer.
 */

export interface ReadNode {
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface ReadModel {
  readonly nodes: readonly ReadNode[];
  readonly initializers: readonly string[];
}

/** Values of a field, in the order of the file: integers as bigint, everything else as bytes. */
export type Fields = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>;

/** Splits one protobuf message into its fields. */
export function readFields(bytes: Uint8Array): Fields {
  const fields = new Map<number, (bigint | Uint8Array)[]>();
  let offset = 0;
  const take = (length: number) => bytes.subarray(offset, (offset += length));
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[offset++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (offset < bytes.length) {
    const tag = Number(varint());
    const [field, wireType] = [tag >> 3, tag & 7];
    const values = fields.get(field) ?? [];
    fields.set(field, values);
    if (wireType === 0) values.push(varint());
    else if (wireType === 2) values.push(take(Number(varint())));
    else if (wireType === 5) values.push(take(4));
    else throw new Error(`wire type ${wireType} of field ${field} is not one of 0, 2, 5`);
  }
  if (offset !== bytes.length) throw new Error('the message ends inside a field');
  return fields;
}

export function readModel(bytes: Uint8Array): ReadModel {
  const graph = messages(readFields(bytes), 7)[0]!;
  return {
    nodes: messages(graph, 1).map((node) => ({
      opType: strings(node, 4)[0]!,
      inputs: strings(node, 1),
      outputs: strings(node, 2),
    })),
    initializers: messages(graph, 5).map((tensor) => strings(tensor, 8)[0]!),
  };
}

function messages(fields: Fields, field: number): readonly Fields[] {
  return (fields.get(field) ?? []).map((bytes) => readFields(bytes as Uint8Array));
}

function strings(fields: Fields, field: number): readonly string[] {
  const decoder = new TextDecoder();
  return (fields.get(field) ?? []).map((bytes) => decoder.decode(bytes as Uint8Array));
}
