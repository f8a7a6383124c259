/**
 * 2,000 damaged checkpoints: each one loads to weights that fit its config, or is refused with one
 * line. Damage is drawn from a fixed seed, so that a failure can be run again by its number.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { mersenne } from 'pure-rand/generator/mersenne';
import { describe, expect, it } from 'vitest';
import { LoopLMError } from '../src/errors.js';
import { loadCheckpoint } from '../src/model/checkpoint.js';
import { elementCount, parameterSpecs } from '../src/model/params.js';
import { memoryFolder } from '../src/util/folder.js';

const NUM_MUTANTS = 2000;
const SEED = 20;

type Files = Map<string, Uint8Array>;
/** An integer in [0, end). */
type Draw = (end: number) => number;
type Mutation = (bytes: Uint8Array, draw: Draw) => Uint8Array;

const CHECKPOINTS = ['tiny-mha', 'tiny-gqa-tied', 'tiny-nanbeige'].map((name): Files => {
  const path = new URL(`fixtures/${name}/`, import.meta.url);
  const names = readdirSync(path).filter((file) => /^(config|model)/.test(file));
  return new Map(names.map((file) => [file, new Uint8Array(readFileSync(new URL(file, path)))]));
});

const ODD_NUMBERS = [-1, 0, 1, 0.5, 7, 1e9, 1e300, 2 ** 53, -(2 ** 31)];
const ODD_TEXTS = ['', 'x', 'BF16', '../model.safetensors', 'model-00002-of-00002.safetensors'];
const ODD_VALUES = [...ODD_NUMBERS, ...ODD_TEXTS, null, true, [], {}, [1e9, 1e9], [[[]]]];

const headerLength = (bytes: Uint8Array) => new DataView(bytes.buffer).getUint32(0, true);
const pick = <T>(list: readonly T[], draw: Draw): T => list[draw(list.length)]!;
const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

const flipBits: Mutation = (bytes, draw) => {
  const near = draw(2) === 0 ? bytes.length : Math.min(bytes.length, 4096); // half of them in front
  for (let flips = 1 + draw(8); flips > 0; flips--) bytes[draw(near)]! ^= 1 << draw(8);
  return bytes;
};

const truncate: Mutation = (bytes, draw) => bytes.slice(0, draw(bytes.length));

const insert: Mutation = (bytes, draw) => {
  const [at, numBytes] = [draw(bytes.length + 1), 1 + draw(16)];
  const added = Uint8Array.from({ length: numBytes }, () => draw(256));
  return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
};

const cutOut: Mutation = (bytes, draw) => {
  const at = draw(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + draw(16))]);
};

const editHeaderLength: Mutation = (bytes, draw) => {
  const length = headerLength(bytes);
  const values = [0, 1, length - 8, length + 8, bytes.length, bytes.length - 8, 2 ** 31, 2 ** 53];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setBigUint64(0, draw(4) === 0 ? 2n ** 64n - 1n : BigInt(pick(values, draw)), true);
  return bytes;
};

const setNonFinite: Mutation = (bytes, draw) => {
  const dataStart = 8 + headerLength(bytes);
  const at = dataStart + 4 * draw((bytes.length - dataStart) >> 2);
  bytes.set(
    pick(
      [
        [0, 0, 0xc0, 0x7f],
        [0, 0, 0x80, 0xff],
        [0x80, 0x7f, 0x80, 0x7f],
      ],
      draw,
    ),
    at,
  );
  return bytes;
};

/** Sets, removes or doubles one value somewhere in a JSON tree. */
function editTree(tree: unknown, draw: Draw): unknown {
  if (typeof tree !== 'object' || tree === null) return pick(ODD_VALUES, draw);
  const keys = Object.keys(tree);
  if (keys.length === 0) return pick(ODD_VALUES, draw);
  const [key, other] = [pick(keys, draw), pick(keys, draw)];
  const object = tree as Record<string, unknown>;
  const action = draw(6);
  if (action === 0) delete object[key];
  else if (action === 1) object[`${key}x`] = object[key];
  else if (action === 2) object[key] = object[other];
  else object[key] = editTree(object[key], draw);
  return tree;
}

const editJson: Mutation = (bytes, draw) =>
  encode(JSON.stringify(editTree(JSON.parse(decode(bytes)), draw)));

const editHeader: Mutation = (bytes, draw) => {
  const end = 8 + headerLength(bytes);
  const json = editJson(bytes.slice(8, end), draw);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return Buffer.concat([length, json, bytes.subarray(end)]);
};

const ANY_FILE = [flipBits, truncate, insert, cutOut];
const JSON_FILE = [...ANY_FILE, editJson, editJson, editJson, editJson];
const WEIGHT_FILE = [...ANY_FILE, editHeaderLength, setNonFinite, editHeader, editHeader];

/** A checkpoint with one file damaged, or missing, and what was done to it. */
function mutant(seed: number): { files: Files; damage: string } {
  const rng = mersenne(SEED * NUM_MUTANTS + seed);
  const draw: Draw = (end) => uniformInt(rng, 0, Math.max(end, 1) - 1);
  const files = new Map(pick(CHECKPOINTS, draw));
  const name = pick([...files.keys()], draw);
  if (draw(50) === 0) {
    files.delete(name);
    return { files, damage: `${name} removed` };
  }
  const mutation = pick(name.endsWith('.json') ? JSON_FILE : WEIGHT_FILE, draw);
  files.set(name, new Uint8Array(mutation(files.get(name)!.slice(), draw)));
  return { files, damage: `${name}: ${mutation.name}` };
}

/** What is wrong with the outcome of loading, or `undefined`. */
async function faultOf(files: Files): Promise<{ fault?: string; isLoaded: boolean }> {
  try {
    const { config, weights } = await loadCheckpoint(memoryFolder('model', files));
    const isWhole = parameterSpecs(config).every(({ hfName, shape }) => {
      const values = weights.get(hfName);
      return values?.length === elementCount(shape) && values.every(Number.isFinite);
    });
    return { isLoaded: true, ...(isWhole ? {} : { fault: 'loaded weights that do not fit' }) };
  } catch (error) {
    if (!(error instanceof LoopLMError)) {
      return { isLoaded: false, fault: `threw ${String(error)}` };
    }
    const isOneLine = /^[^\n\r\u2028\u2029\p{Cc}]{20,700}$/u.test(error.message);
    return { isLoaded: false, ...(isOneLine ? {} : { fault: `said ${error.message}` }) };
  }
}

describe('loadCheckpoint', () => {
  it(`takes or refuses each of ${NUM_MUTANTS} damaged checkpoints, in one line`, async () => {
    const faults: string[] = [];
    let numLoaded = 0;
    for (let seed = 0; seed < NUM_MUTANTS; seed++) {
      const { files, damage } = mutant(seed);
      const { fault, isLoaded } = await faultOf(files);
      if (isLoaded) numLoaded++;
      if (fault !== undefined) faults.push(`${seed} (${damage}) ${fault}`);
    }
    expect(faults).toEqual([]);
    // Both outcomes must be common, or the damage is too mild or too coarse to test anything.
    expect(numLoaded).toBeGreaterThan(NUM_MUTANTS / 20);
    expect(numLoaded).toBeLessThan(NUM_MUTANTS / 2);
  });
});
