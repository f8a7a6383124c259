/**
 * What this machine can do at most: multiply-adds of float32 products, and reading memory. Other
 * machines, and other hours of the same one, have other roofs; so they are measured in every round of
 * a benchmark, and shares are taken of the round's own.
 */
import { buildGraph, input, matmul, parameter, reduceSum } from 'looplm/graph';
import { createInlineDevice } from 'looplm/runtime';
import { z } from 'zod';
import { normalSampler } from '../../src/util/normal.js';
import { createMemoryReadTest } from './memory-read.js';

/** Side of the square matrices: as large as those of a 1.4B model. */
export const PRODUCT_SIZE = 2048;
/** Products of one run; what is fed and fetched is small beside them. */
const PRODUCTS = 3;
const TRIES = 3;

/** One entry a round. */
export const roofsSchema = z.object({
  /** 10^9 floating point operations a second of float32 products. */
  productGflops: z.array(z.number()),
  /** 10^9 bytes a second that all threads read together. */
  memoryGbps: z.array(z.number()),
});

export type RoofRounds = z.infer<typeof roofsSchema>;

/** Measured rates; each takes a fraction of a second and adds a round to `rounds`. */
export interface Roofs extends AsyncDisposable {
  readonly rounds: RoofRounds;
  /** GFLOP/s of ONNX Runtime, the best of a few tries. */
  product(): Promise<number>;
  /** GB/s. */
  memory(): Promise<number>;
}

/** Products in a row: x [N, N], then weights that the library may pack as it likes. */
async function openProducts(numThreads: number) {
  const device = await createInlineDevice({ numThreads });
  const sample = normalSampler(1);
  const random = () =>
    Float32Array.from({ length: PRODUCT_SIZE ** 2 }, () => sample() / Math.sqrt(PRODUCT_SIZE));
  const shape = [PRODUCT_SIZE, PRODUCT_SIZE];
  let y = input('x', 'f32', shape);
  for (let n = 0; n < PRODUCTS; n++) y = matmul(y, parameter(`w${n}`, 'f32', shape, random()));
  const program = await device.compile(buildGraph({ sums: reduceSum(y, [-1]) }));
  const x = { dtype: 'f32' as const, dims: shape, data: random() };
  return {
    async run() {
      await device.submit([{ kind: 'run', program, feeds: { x }, fetch: ['sums'] }]);
    },
    dispose: () => device.dispose(),
  };
}

export async function openRoofs(numThreads: number): Promise<Roofs> {
  const products = await openProducts(numThreads);
  const memoryRead = await createMemoryReadTest(numThreads);
  const rounds: RoofRounds = { productGflops: [], memoryGbps: [] };
  await products.run(); // packs the weights
  return {
    rounds,
    async product() {
      let best = Infinity;
      for (let n = 0; n < TRIES; n++) {
        const start = performance.now();
        await products.run();
        best = Math.min(best, performance.now() - start);
      }
      const gflops = (PRODUCTS * 2 * PRODUCT_SIZE ** 3) / best / 1e6;
      rounds.productGflops.push(gflops);
      return gflops;
    },
    async memory() {
      const gigabytes = await memoryRead.gigabytesPerSecond();
      rounds.memoryGbps.push(gigabytes);
      return gigabytes;
    },
    async [Symbol.asyncDispose]() {
      await products.dispose();
      await memoryRead[Symbol.asyncDispose]();
    },
  };
}
