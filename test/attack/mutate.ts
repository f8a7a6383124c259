/** Ways to damage a file: its JSON by structure, its text, its bytes. */
import type { Draw } from '../draw.js';
import { ODD_JSON } from './odd-values.js';

/** A file's new content. */
export type Mutation = (content: Buffer, draw: Draw) => Buffer;

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

/** Every place in a JSON value that holds another value. */
function placesIn(value: unknown, places: Place[] = []): Place[] {
  if (typeof value !== 'object' || value === null) return places;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    if (places.length > 5000) break;
    places.push({ holder, key });
    placesIn(holder[key], places);
  }
  return places;
}

function changeOne(json: unknown, draw: Draw): void {
  const places = placesIn(json);
  if (places.length === 0) return;
  const { holder, key } = draw.pick(places);
  const value = holder[key];
  switch (draw.below(7)) {
    case 0:
      Reflect.deleteProperty(holder, key);
      return;
    case 1:
      holder[`${key}${draw.pick(['_', ' ', 's', '\u001b'])}`] = value;
      return;
    case 2: // another type, the same content
      holder[key] = typeof value === 'number' ? String(value) : [value];
      return;
    case 3:
      holder[key] = typeof value === 'number' ? value * draw.pick([-1, 0.5, 2, 1e6, 1e-9]) : value;
      return;
    default:
      holder[key] = structuredClone(draw.pick(ODD_JSON)); // it may be changed next
  }
}

/** One to three changes in the structure; a file that is no JSON is left as it is. */
export const damageJson: Mutation = (content, draw) => {
  let json: unknown;
  try {
    json = JSON.parse(content.toString()) as unknown;
  } catch {
    return content;
  }
  for (let left = 1 + draw.below(3); left > 0; left--) changeOne(json, draw);
  return Buffer.from(JSON.stringify(json));
};

/** The same for one line of JSONL. */
export const damageLine: Mutation = (content, draw) => {
  const lines = content.toString().split('\n');
  const at = draw.below(lines.length);
  lines[at] = damageJson(Buffer.from(lines[at]!), draw).toString();
  return Buffer.from(lines.join('\n'));
};

export const damageText: Mutation = (content, draw) => {
  const text = content.toString();
  const at = draw.below(text.length + 1);
  const mutations: readonly (() => Buffer)[] = [
    () => Buffer.alloc(0),
    () => Buffer.from(text.slice(0, at)),
    () => Buffer.from(`\ufeff${text}`),
    () => Buffer.from(`\ufeff${text}`, 'utf16le'),
    () => Buffer.concat([content.subarray(0, at), Buffer.from([0xff, 0xc3]), content.subarray(at)]),
    () => Buffer.concat([content.subarray(0, at), Buffer.alloc(9), content.subarray(at)]),
    () => Buffer.from(`${text}${text}`),
    () => Buffer.from(`${text}\n{"unfinished": `),
    () => Buffer.from('['.repeat(100_000)),
    () => Buffer.from('{"a":'.repeat(20_000)),
    () => Buffer.from('[NaN, Infinity, undefined]'),
    () => Buffer.from('null'),
    () => Buffer.from('""'),
    () => Buffer.from(' \n\n\t'),
    () => Buffer.from(text.replaceAll('\n', '\r\n')),
    () => Buffer.from(text.replaceAll('"', "'")),
    () => noise(draw, 3000),
  ];
  return draw.pick(mutations)();
};

function noise(draw: Draw, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => draw.below(256)));
}

/** Bits, bytes and ends of a binary file; mostly near its front, where the structure is. */
export const damageBytes: Mutation = (content, draw) => {
  const near = Math.min(content.length, draw.oneIn(2) ? 2000 : content.length);
  if (near === 0) return content;
  const at = draw.below(near);
  const bytes = Buffer.from(content);
  const mutations: readonly (() => Buffer)[] = [
    () => bytes.subarray(0, at),
    () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + draw.below(16))]),
    () => Buffer.concat([bytes.subarray(0, at), noise(draw, 8), bytes.subarray(at)]),
    () => Buffer.alloc(0),
    () => Buffer.concat([bytes, noise(draw, 64)]),
    () => noise(draw, 500),
    () => {
      for (let flips = 1 + draw.below(8); flips > 0; flips--) {
        bytes[draw.below(near)]! ^= 1 << draw.below(8);
      }
      return bytes;
    },
    () => {
      bytes.writeBigUInt64LE(draw.pick([0n, 1n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n]), 0);
      return bytes;
    },
  ];
  return bytes.length < 8 ? bytes.subarray(0, at) : draw.pick(mutations)();
};
