/**
 * What recompute regions are for: ONNX Runtime really computes their inner values twice, one region
 * after the other, and so needs less memory.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as ort from '../../src/runtime/ort-node.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Graph, Tensor } from 'looplm/graph';
import {
  add,
  buildGraph,
  exp,
  gradients,
  input,
  linear,
  mul,
  recompute,
  reduceSum,
  silu,
  writeOnnx,
} from 'looplm/graph';
import type { ReadModel, ReadNode } from './onnx-reader.js';
import { readModel } from './onnx-reader.js';
import { SESSION_OPTIONS } from './support.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'looplm-recompute-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The nodes that ONNX Runtime really runs. */
async function optimized(graph: Graph): Promise<ReadModel> {
  const path = join(folder, 'optimized.onnx');
  const options = {
    ...SESSION_OPTIONS,
    graphOptimizationLevel: 'all',
    optimizedModelFilePath: path,
  };
  const session = await ort.InferenceSession.create(writeOnnx(graph).bytes, options as never);
  await session.release();
  return readModel(await readFile(path));
}

const countOf = ({ nodes }: ReadModel, opType: string): number =>
  nodes.filter((node) => node.opType === opType).length;

/** All nodes whose results a node needs. */
function needs({ nodes }: ReadModel, node: ReadNode): ReadonlySet<ReadNode> {
  const makers = new Map(nodes.flatMap((maker) => maker.outputs.map((name) => [name, maker])));
  const found = new Set<ReadNode>();
  const open = [node];
  for (let next = open.pop(); next; next = open.pop()) {
    for (const name of next.inputs) {
      const maker = makers.get(name);
      if (maker && !found.has(maker)) open.push(maker);
      if (maker) found.add(maker);
    }
  }
  return found;
}

/** The node that computes a value, behind mere renaming. */
function makerOf(model: ReadModel, name: string): ReadNode {
  const maker = model.nodes.find(({ outputs }) => outputs.includes(name))!;
  return maker.opType === 'Identity' ? makerOf(model, maker.inputs[0]!) : maker;
}

const inOneGo: typeof recompute = (body, inputs) => body(inputs);

/** `depth` layers h + exp(h * weight), each with its own weight, and all their gradients. */
function expChain(depth: number, region: typeof recompute, lossOf: (h: Tensor) => Tensor): Graph {
  const weights = Array.from({ length: depth }, (_, layer) => input(`w${layer}`, 'f32', [8]));
  let h = input('x', 'f32', [4, 8]);
  for (const weight of weights) h = region(([y]) => add(y!, exp(mul(y!, weight))), [h]);
  const loss = lossOf(h);
  const grads = gradients(loss, weights).map((grad, layer) => [`d${layer}`, grad!] as const);
  return buildGraph({ loss, ...Object.fromEntries(grads) });
}

const squares = (h: Tensor) => reduceSum(mul(h, h));

describe('ONNX Runtime', () => {
  test('computes the inner values of a region twice, and of plain code once', async () => {
    expect(countOf(await optimized(expChain(3, inOneGo, squares)), 'Exp')).toBe(3);
    expect(countOf(await optimized(expChain(3, recompute, squares)), 'Exp')).toBe(6);
  });

  test('keeps the two apart also where the incoming gradient is a constant', async () => {
    expect(countOf(await optimized(expChain(1, recompute, reduceSum)), 'Exp')).toBe(2);
  });

  test('computes a region inside a region a third time', async () => {
    const w = input('w', 'f32', [8]);
    const inner = (h: Tensor) => recompute(([y]) => exp(mul(y!, w)), [h]);
    const x = input('x', 'f32', [4, 8]);
    const h = recompute(([y]) => mul(inner(y!), y!), [x]);
    const loss = squares(h);
    const [byW, byX] = gradients(loss, [w, x]);
    const graph = buildGraph({ loss, byW: byW!, byX: byX! });
    expect(countOf(await optimized(graph), 'Exp')).toBe(3);
  });

  /** Every second computation waits for the weight gradients of all later regions. */
  async function expectOneAfterAnother(graph: Graph, numRegions: number): Promise<void> {
    const model = await optimized(graph);
    const exps = model.nodes.filter(({ opType }) => opType === 'Exp');
    const sorted = exps.toSorted((a, b) => needs(model, a).size - needs(model, b).size);
    const again = sorted.slice(numRegions);
    expect(again).toHaveLength(numRegions);
    again.forEach((node, index) => {
      const finished = needs(model, node);
      for (let later = numRegions - 1; later > numRegions - 1 - index; later--) {
        expect(finished).toContain(makerOf(model, `d${later}`));
      }
    });
  }

  test('finishes all gradients of a region before it computes an earlier region again', () =>
    expectOneAfterAnother(expChain(4, recompute, squares), 4));

  test('does so also for regions that do not depend on each other', () => {
    const weights = [0, 1, 2, 3].map((branch) => input(`w${branch}`, 'f32', [8]));
    const branches = weights.map((weight, branch) =>
      recompute(([y]) => exp(mul(y!, weight)), [input(`x${branch}`, 'f32', [4, 8])]),
    );
    const loss = branches.map(squares).reduce((sum, part) => add(sum, part));
    const grads = gradients(loss, weights).map((grad, branch) => [`d${branch}`, grad!] as const);
    return expectOneAfterAnother(buildGraph({ loss, ...Object.fromEntries(grads) }), 4);
  });
});

/** Prints by how many bytes one run of a model raises the peak of the process. */
const MEASURE = `
  import * as ort from ${JSON.stringify(new URL('../../dist/src/runtime/ort-node.js', import.meta.url).href)};
  const session = await ort.InferenceSession.create(process.argv[1], {
    intraOpNumThreads: 1, enableCpuMemArena: false, enableMemPattern: false,
  });
  const feeds = session.inputMetadata.map(({ name, shape }) => {
    const count = shape.reduce((product, dim) => product * dim, 1);
    return [name, new ort.Tensor('float32', new Float32Array(count).fill(0.01), shape)];
  });
  const before = process.memoryUsage.rss();
  await session.run(Object.fromEntries(feeds));
  console.log(process.resourceUsage().maxRSS * 1024 - before);
`;

async function peakBytes(graph: Graph): Promise<number> {
  const path = join(folder, 'measured.onnx');
  await writeFile(path, writeOnnx(graph).bytes);
  const args = ['--input-type=module', '--eval', MEASURE, path];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return Number(stdout);
}

test('a deep chain trains in less than a third of the memory', async () => {
  const [depth, rows, width] = [16, 4096, 128];
  const chain = (region: typeof recompute) => {
    const weights = Array.from({ length: depth }, (_, i) => input(`w${i}`, 'f32', [width, width]));
    let h = input('x', 'f32', [rows, width]);
    for (const weight of weights) {
      h = region(([y]) => add(y!, silu(silu(silu(linear(y!, weight))))), [h]);
    }
    const loss = squares(h);
    const grads = gradients(loss, weights).map((grad, i) => [`d${i}`, grad!] as const);
    return buildGraph({ loss, ...Object.fromEntries(grads) });
  };
  const kept = await peakBytes(chain(inOneGo));
  const recomputed = await peakBytes(chain(recompute));
  const stateBytes = 4 * rows * width;
  expect(kept).toBeGreaterThan(4 * depth * stateBytes);
  expect(recomputed).toBeLessThan(kept / 3);
});
