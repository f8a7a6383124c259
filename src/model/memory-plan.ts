/**
 * What a loaded model will keep in memory, from its config and formats alone: weights, keys and
 * values by policy, and the workspace of the programs.
 *
 * The plan is made before anything is loaded, so that a model which does not fit is refused with the
 * numbers. How large ONNX Runtime's copies of the weights are was measured (benchmarks/memory checks
 * the plan against the resident size). It knows no device and no file.
 */
import { ConfigError } from '../errors.js';
import type { KvDtype } from '../util/kv-dtype.js';
import type { LoopLMConfig } from './config.js';
import { resolveNumLoops } from './config.js';
import type { KvPolicy } from './kv-bytes.js';
import { kvBytesPerPosition, kvPlaneBytes, kvPlanes } from './kv-bytes.js';
import type { ParameterSpec } from './params.js';
import { elementCount, parameterSpecs } from './params.js';
import type { ModelFormat, WeightFormat } from './weight-format.js';
import { describeFormat } from './weight-format.js';
import { formatOf } from './weights.js';

/** What the model will be asked for. */
export interface MemoryNeeds {
  /** Formats of a converted model; undefined for weights read into memory as float32. */
  readonly format?: ModelFormat | undefined;
  readonly kvDtype: KvDtype;
  readonly kvPolicy: KvPolicy;
  /** Positions of a sequence, 1 to `maxPositionEmbeddings`. */
  readonly context: number;
  /** Sequences at a time. */
  readonly numSequences: number;
  /** Loops of full depth; default the model's own. */
  readonly numLoops?: number | undefined;
}

/** Bytes, by what they are for. */
export interface MemoryPlan extends MemoryNeeds {
  /** Weights as the programs hold them. */
  readonly weightBytes: number;
  /** Weights read from their mapped file where needed; the system may drop them at any time. */
  readonly mappedBytes: number;
  /** Of one position of one sequence once its prompt has run, by policy. */
  readonly kvBytesPerPosition: Readonly<Record<KvPolicy, number>>;
  /**
   * Keys and values of all sequences at the full context, as if every token ran all loops, while one
   * of them still runs its prompt: under `shared` that one has all planes, the others one. Planes are
   * taken when a token goes that deep, so mostly it is less. Sequences that need more, such as two
   * prompts at a time under `shared`, wait for each other.
   */
  readonly kvBytes: number;
  /** Activations of a prefill, attention over gathered pages, logits. */
  readonly workspaceBytes: number;
  /** The runtime with the programs, without weights. */
  readonly processBytes: number;
  /** Everything but the mapped weights. */
  readonly totalBytes: number;
}

/** Node.js and ONNX Runtime, two threads, before a model is loaded. */
const PROCESS_BYTES = 110e6;
/** A compiled program beside its weights; there is one for each layer and a few more. */
const PROGRAM_BYTES = 2.5e6;
const MORE_PROGRAMS = 4;
/** Values of JavaScript that wait for garbage collection while tokens are computed. */
const GARBAGE_BYTES = 50e6;

/**
 * Rows of a step, each one loop of one token, at most: what the engine runs at a time, and what
 * workspace is planned for.
 */
export const MAX_STEP_ROWS = 256;

/** @throws ConfigError if the context or the number of loops is out of range */
export function planMemory(config: LoopLMConfig, needs: MemoryNeeds): MemoryPlan {
  const { context, numSequences, kvDtype, kvPolicy, format } = needs;
  if (!Number.isInteger(context) || context < 1 || context > config.maxPositionEmbeddings) {
    throw new ConfigError(
      'context',
      `The context is ${context}; it must be an integer from 1 to ${config.maxPositionEmbeddings}.`,
    );
  }
  const numLoops = resolveNumLoops(config, needs.numLoops);
  const { inPrompt, kept } = kvPlanes(kvPolicy, numLoops);
  const planes = inPrompt + kept * (numSequences - 1);
  const kvBytes = kvPlaneBytes(config, kvDtype) * context * planes;
  const { held, mapped } = weightBytes(config, format);
  const workspaceBytes = workspace(config, needs);
  const processBytes = PROCESS_BYTES + PROGRAM_BYTES * (config.numHiddenLayers + MORE_PROGRAMS);
  return {
    ...needs,
    numLoops,
    weightBytes: held,
    mappedBytes: mapped,
    kvBytesPerPosition: kvBytesPerPosition(config, numLoops, kvDtype),
    kvBytes,
    workspaceBytes,
    processBytes,
    totalBytes: held + kvBytes + workspaceBytes + processBytes,
  };
}

function weightBytes(
  config: LoopLMConfig,
  format: ModelFormat | undefined,
): { readonly held: number; readonly mapped: number } {
  const specs = parameterSpecs(config);
  if (!format) {
    // The embedding is a table; a tied head is multiplied with a copy in another layout.
    const tied = config.tieWordEmbeddings ? config.vocabSize * config.hiddenSize : 0;
    const count = specs.reduce((sum, { shape }) => sum + elementCount(shape), tied);
    return { held: 4 * count, mapped: 0 };
  }
  let held = 0;
  let mapped = 0;
  for (const spec of specs) {
    if (spec.kind !== 'embedding') {
      held += multipliedBytes(spec, formatOf(spec, format));
      continue;
    }
    mapped += tableBytes(spec, format);
    if (config.tieWordEmbeddings) held += multipliedBytes(spec, format.head);
  }
  return { held, mapped };
}

/** Bytes of an embedding, which stays as it is stored. */
export function tableBytes({ shape }: ParameterSpec, { embedding }: ModelFormat): number {
  return elementCount(shape) * (embedding.dtype === 'f16' ? 2 : 4);
}

/** Bytes of a weight as ONNX Runtime packs it for products. */
export function multipliedBytes({ shape }: ParameterSpec, format: WeightFormat): number {
  // Half precision is computed in single.
  if (format.kind === 'float') return 4 * elementCount(shape);
  const [outputs, inputs] = shape as readonly [number, number];
  const numBlocks = outputs * Math.ceil(inputs / format.blockSize);
  const sums = 4; // of the integers of a block, beside its scale
  return numBlocks * ((format.blockSize * format.bits) / 8 + 4 + sums);
}

function workspace(config: LoopLMConfig, { context }: MemoryNeeds): number {
  const { hiddenSize: D, intermediateSize: F, vocabSize: V } = config;
  const { numAttentionHeads: H, numKeyValueHeads: K, headDim } = config;
  const N = Math.min(MAX_STEP_ROWS, context);
  const activations = N * (8 * D + 2 * (H + 2 * K) * headDim + 5 * F);
  const gathered = 2 * Math.max(Math.min(K * headDim * context, 2 ** 23), headDim * context);
  const scores = 3 * Math.max(Math.min(H * N * context, 2 ** 23), (H / K) * context);
  // What programs hand on by layer is garbage after one use, and collected about twice a pass.
  const handedOn = (config.numHiddenLayers * N * (2 * (H + K) * headDim + D)) / 2;
  return GARBAGE_BYTES + 4 * (activations + gathered + scores + handedOn + 4 * V);
}

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A byte count in GiB, MiB or KiB, for people. */
export function showBytes(bytes: number): string {
  if (bytes >= GIB) return `${(bytes / GIB).toFixed(2)} GiB`;
  if (bytes >= 10 * MIB) return `${Math.ceil(bytes / MIB)} MiB`;
  if (bytes >= MIB) return `${(bytes / MIB).toFixed(1)} MiB`;
  return `${Math.ceil(bytes / KIB)} KiB`;
}

/** The lines of a plan, for people. */
export function describePlan(plan: MemoryPlan): readonly string[] {
  const { kvPolicy, kvDtype, context, numSequences, kvBytesPerPosition: perPosition } = plan;
  const policies = Object.entries(perPosition).map(
    ([policy, bytes]) =>
      `${policy} ${showBytes(bytes)}${policy === 'shared' ? ' after its prompt' : ''}`,
  );
  const sequences = numSequences === 1 ? '' : `${numSequences} sequences of `;
  const { format } = plan;
  const formats = format
    ? `body ${describeFormat(format.body)}, head ${describeFormat(format.head)}: `
    : 'f32: ';
  return [
    `weights    ${formats}${showBytes(plan.weightBytes)}${plan.mappedBytes > 0 ? `, and ${showBytes(plan.mappedBytes)} mapped` : ''}`,
    `cache      up to ${showBytes(plan.kvBytes)}: ${sequences}${context} positions, ${kvPolicy}, ${kvDtype}`,
    `           a position takes: ${policies.join(', ')}`,
    `workspace  ${showBytes(plan.workspaceBytes)}, runtime ${showBytes(plan.processBytes)}`,
    `in all     ${showBytes(plan.totalBytes)}`,
  ];
}
