/**
 * The base of the rotary angles in a config.json, wherever the writing program put it.
 *
 * It stands in `rope_theta`, or in `rope_parameters` as newer versions of transformers write it, or
 * beside the type in `rope_scaling`. Angles that are scaled in some way are another model.
 */
import { z } from 'zod';
import { quote, showValue } from '../util/quote.js';
import type { ConfigFields } from './config-fields.js';
import { numberFrom, rule } from './config-fields.js';

/** The largest base in use is 1e9; below 1 the angles would grow with the index of the pair. */
const THETA = numberFrom(1, 1e12);

const ropeObject = rule(
  z.looseObject({
    rope_type: z.string().nullish(),
    type: z.string().nullish(),
    rope_theta: z.number().nullish(),
    partial_rotary_factor: z.number().nullish(),
  }),
  'null, or an object with rope_type (or type) and rope_theta',
);

/** `undefined` where it is missing or wrong, which `fields` has noted. */
export function readRopeTheta(fields: ConfigFields): number | undefined {
  const named = ['rope_parameters', 'rope_scaling'].flatMap((key) => {
    const theta = thetaIn(fields, key);
    return theta === undefined ? [] : [{ key: `${key}.rope_theta`, theta }];
  });
  const [found] = named;
  if (found === undefined) return fields.required('rope_theta', THETA);
  const top = fields.optional('rope_theta', THETA);
  if (top !== undefined) named.push({ key: 'rope_theta', theta: top });
  const other = named.find(({ theta }) => theta !== found.theta);
  if (other !== undefined) {
    fields.fault(
      'rope_theta',
      `${found.key} is ${found.theta} and ${other.key} is ${other.theta}; they must agree. Remove the wrong one.`,
    );
  }
  if (THETA.schema.safeParse(found.theta).success) return found.theta;
  fields.fault(
    'rope_theta',
    `${found.key} is ${found.theta}; it must be ${THETA.allowed}. Correct it.`,
  );
  return undefined;
}

/** The base that an object names, if its type is the default one. */
function thetaIn(fields: ConfigFields, key: string): number | undefined {
  const value = fields.optional(key, ropeObject);
  if (value === undefined) return undefined;
  const type = value.rope_type ?? value.type ?? 'default';
  const factor = value.partial_rotary_factor ?? 1;
  if (type !== 'default') {
    fields.unsupported(
      key,
      `${key} is of type ${quote(type)}; looplm computes unscaled rotary angles, type "default", only. Use a checkpoint without it.`,
    );
  } else if (factor !== 1) {
    fields.unsupported(
      key,
      `${key}.partial_rotary_factor is ${showValue(factor)}; looplm turns whole heads, factor 1, only. Use a checkpoint without it.`,
    );
  }
  return value.rope_theta ?? undefined;
}
