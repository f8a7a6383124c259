/**
 * Normal numbers by the hundred million: the ziggurat method on a seeded generator.
 *
 * The area under the bell is cut into 128 layers of equal size; nearly every draw falls into the
 * rectangle of its layer and costs one product. One seed gives one sequence; `normal.ts` is slower,
 * and what fresh weights for training come from. It does not know what the numbers are for.
 * Source: G. Marsaglia and W. W. Tsang, The Ziggurat Method (2000), with the correction of
 * J. A. Doornik (2005): layer and position come from different bits.
 */
import type { RandomGenerator } from 'pure-rand/types/RandomGenerator';

const NUM_LAYERS = 128;
/** Where the tail begins, and the area of a layer, for 128 layers. */
const TAIL_START = 3.442619855899;
const LAYER_AREA = 9.91256303526217e-3;

const bell = (x: number) => Math.exp(-0.5 * x * x);

/** Right edges of the layers from the bottom up; the bottom one stands for its tail, too. */
const EDGES = layerEdges();
/** How much of a layer's width lies under the bell at any height. */
const INNER = Float64Array.from({ length: NUM_LAYERS }, (_, i) => EDGES[i + 1]! / EDGES[i]!);

/** Fills an array with samples of N(mean, std^2). */
export function fillNormal(
  values: Float32Array,
  mean: number,
  std: number,
  rng: RandomGenerator,
): void {
  for (let i = 0; i < values.length; i++) values[i] = mean + std * nextNormal(rng);
}

function nextNormal(rng: RandomGenerator): number {
  for (;;) {
    const bits = rng.next();
    const layer = bits & (NUM_LAYERS - 1);
    const u = ((bits >> 7) + 0.5) / 2 ** 24; // in (-1, 1)
    const x = u * EDGES[layer]!;
    if (Math.abs(u) < INNER[layer]!) return x;
    if (layer === 0) return Math.sign(u) * tail(rng);
    const [low, high] = [bell(EDGES[layer]!), bell(EDGES[layer + 1]!)];
    if (low + uniform(rng) * (high - low) < bell(x)) return x;
  }
}

/** A sample beyond `TAIL_START`, by rejection from an exponential. */
function tail(rng: RandomGenerator): number {
  for (;;) {
    const beyond = -Math.log(uniform(rng)) / TAIL_START;
    if (-2 * Math.log(uniform(rng)) > beyond * beyond) return TAIL_START + beyond;
  }
}

/** In (0, 1). */
function uniform(rng: RandomGenerator): number {
  return ((rng.next() >>> 0) + 0.5) / 2 ** 32;
}

function layerEdges(): Float64Array {
  const edges = new Float64Array(NUM_LAYERS + 1);
  edges[0] = LAYER_AREA / bell(TAIL_START);
  edges[1] = TAIL_START;
  for (let i = 2; i < NUM_LAYERS; i++) {
    edges[i] = Math.sqrt(-2 * Math.log(LAYER_AREA / edges[i - 1]! + bell(edges[i - 1]!)));
  }
  return edges; // the top layer ends in 0
}
