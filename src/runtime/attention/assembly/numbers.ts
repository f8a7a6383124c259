/**
 * Arithmetic on four numbers: half precision to single and back, powers of two, sums over lanes.
 *
 * A half's exponent has another bias. Moving its bits into place without correcting that gives
 * value * 2^-112, so whoever multiplies with it carries the factor 2^112; stored halves are finite.
 * Source: IEEE 754 binary16 and binary32.
 */

/** 2^112. */
export const HALF_SCALE: f32 = 5.192296858534828e33;
const MAX_HALF: f32 = 65504;

/** Elements 0, 2, 4, 6 of eight halves, times 2^-112. */
// @ts-ignore: decorator
@inline
export function evenHalves(word: v128): v128 {
  return v128.and(i32x4.shr_s(i32x4.shl(word, 16), 3), i32x4.splat(<i32>0x8fffe000));
}

/** Elements 1, 3, 5, 7 of eight halves, times 2^-112. */
// @ts-ignore: decorator
@inline
export function oddHalves(word: v128): v128 {
  return v128.and(i32x4.shr_s(word, 3), i32x4.splat(<i32>0x8fffe000));
}

/** The bits of halves, one in each 32-bit lane: to nearest, ties to even, clamped to +-65504. */
// @ts-ignore: decorator
@inline
export function toHalves(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(<i32>0x80000000));
  const bits = f32x4.pmin(f32x4.splat(MAX_HALF), f32x4.abs(x));
  const odd = v128.and(i32x4.shr_u(bits, 13), i32x4.splat(1));
  const bias = i32x4.splat(0xfff - (112 << 23));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(bits, bias), odd), 13);
  // The unit of 0.5 in single precision is that of subnormal halves: the addition rounds.
  const half = f32x4.splat(0.5);
  const small = i32x4.sub(f32x4.add(bits, half), half);
  const isSmall = i32x4.lt_u(bits, i32x4.splat(113 << 23));
  return v128.or(v128.bitselect(small, normal, isSmall), i32x4.shr_u(sign, 16));
}

/** To nearest, ties to even; exact below 2^22 in magnitude, large of the right sign above. */
// @ts-ignore: decorator
@inline
export function toIntegers(x: v128): v128 {
  // Adding 1.5 * 2^23 leaves the integer in the low bits.
  const shifted = f32x4.add(x, f32x4.splat(12582912));
  return i32x4.sub(shifted, i32x4.splat(0x4b400000));
}

/** 2^x for x <= 0, relative error below 1e-7; 0 below 2^-125. */
// @ts-ignore: decorator
@inline
export function exp2(x: v128): v128 {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const shifter = f32x4.splat(12582912);
  const shifted = f32x4.add(x, shifter);
  const f = f32x4.sub(x, f32x4.sub(shifted, shifter)); // in [-0.5, 0.5]
  // Minimax polynomial of degree 6, relative error 2e-9.
  let y = f32x4.add(f32x4.mul(f, f32x4.splat(0.000153458122)), f32x4.splat(0.001339993122));
  y = f32x4.add(f32x4.mul(f, y), f32x4.splat(0.009618488957));
  y = f32x4.add(f32x4.mul(f, y), f32x4.splat(0.05550328777));
  y = f32x4.add(f32x4.mul(f, y), f32x4.splat(0.2402264689));
  y = f32x4.add(f32x4.mul(f, y), f32x4.splat(0.6931472057));
  y = f32x4.add(f32x4.mul(f, y), f32x4.splat(1));
  const scaled = i32x4.add(y, i32x4.shl(shifted, 23));
  return v128.andnot(scaled, f32x4.lt(x, f32x4.splat(-125)));
}

/** The lane sums of four vectors, as one vector. */
// @ts-ignore: decorator
@inline
export function laneSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(
    v128.shuffle<f32>(a, b, 0, 4, 1, 5),
    v128.shuffle<f32>(a, b, 2, 6, 3, 7),
  );
  const cd = f32x4.add(
    v128.shuffle<f32>(c, d, 0, 4, 1, 5),
    v128.shuffle<f32>(c, d, 2, 6, 3, 7),
  );
  return f32x4.add(
    v128.shuffle<f32>(ab, cd, 0, 1, 4, 5),
    v128.shuffle<f32>(ab, cd, 2, 3, 6, 7),
  );
}

/** The sum of the lanes. */
// @ts-ignore: decorator
@inline
export function laneSum(a: v128): f32 {
  return (
    f32x4.extract_lane(a, 0) +
    f32x4.extract_lane(a, 2) +
    (f32x4.extract_lane(a, 1) + f32x4.extract_lane(a, 3))
  );
}

/** The largest lane. */
// @ts-ignore: decorator
@inline
export function laneMax(a: v128): f32 {
  const b = f32x4.pmax(a, v128.shuffle<f32>(a, a, 2, 3, 0, 1));
  return max<f32>(f32x4.extract_lane(b, 0), f32x4.extract_lane(b, 1));
}
