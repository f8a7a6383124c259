/** Where the time of looplm's gradients goes, by kinds of operators, as ONNX Runtime's profile says. */
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildGraph, writeOnnx } from 'looplm/graph';
import { batchFeeds, gradientOutputs, objectiveGraph } from 'looplm/train';
import type { TrainingBatch } from 'looplm/data';
import type { LoopLMConfig, ModelWeights } from 'looplm/model';
import { parameterSpecs } from 'looplm/model';
import { InferenceSession, Tensor } from '../../src/runtime/ort-node.js';

const KINDS: Readonly<Record<string, readonly string[]>> = {
  products: ['MatMul', 'FusedMatMul', 'Gemm'],
  softmax: ['Softmax', 'LogSoftmax', 'ReduceMax'],
  'norms and rotations': ['SimplifiedLayerNormalization', 'RotaryEmbedding'],
  'moving data':
    'Transpose Slice Concat Split Reshape Expand Pad Gather GatherElements ScatterElements'.split(
      ' ',
    ),
};
/** All others. */
const REST = 'single elements and sums';

/** Shares of the time in operators, by kind. */
export type Profile = Readonly<Record<string, number>>;

/** Profiles the second of two passes on one thread, as each of several devices computes it. */
export async function profileGradients(
  config: LoopLMConfig,
  weights: ModelWeights,
  batch: TrainingBatch,
  beta: number,
): Promise<Profile> {
  const { rows, length } = batch;
  const graph = objectiveGraph(config, { rows, length, objective: { kind: 'stage-1', beta } });
  const { bytes } = writeOnnx(buildGraph(gradientOutputs(graph)));
  const folder = await mkdtemp(join(tmpdir(), 'looplm-profile-'));
  try {
    const session = await InferenceSession.create(bytes, {
      intraOpNumThreads: 1,
      enableProfiling: true,
      profileFilePrefix: join(folder, 'profile'),
      logSeverityLevel: 3,
    });
    const params = parameterSpecs(config).map(
      ({ hfName, shape }) =>
        [hfName, { dtype: 'f32' as const, dims: shape, data: weights.get(hfName)! }] as const,
    );
    const given = { ...Object.fromEntries(params), ...batchFeeds(batch, config, 1 / length) };
    const feeds = Object.fromEntries(
      Object.entries(given).map(([name, { dtype, dims, data }]) => [
        name,
        new Tensor(dtype === 'f32' ? 'float32' : 'int32', data as Float32Array, dims),
      ]),
    );
    for (let pass = 0; pass < 2; pass++) await session.run(feeds, ['loss', ...session.outputNames]);
    session.endProfiling();
    await session.release();
    const [file] = await readdir(folder);
    return shares(JSON.parse(await readFile(join(folder, file!), 'utf8')) as ProfileEvent[]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

interface ProfileEvent {
  readonly name: string;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

function shares(events: readonly ProfileEvent[]): Profile {
  const nodes = events.filter(({ name }) => name.endsWith('_kernel_time'));
  const second = nodes.slice(nodes.length / 2);
  const total = second.reduce((sum, { dur }) => sum + dur, 0);
  const kindOf = (op: string) =>
    Object.keys(KINDS).find((kind) => KINDS[kind]!.includes(op)) ?? REST;
  const times: Record<string, number> = {};
  for (const { dur, args } of second) {
    const kind = kindOf(args?.op_name ?? '');
    times[kind] = (times[kind] ?? 0) + dur / total;
  }
  return times;
}
