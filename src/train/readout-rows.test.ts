import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IGNORED_TARGET } from '../data/index.js';
import { chunkRows, readoutFeeds } from './readout-rows.js';

const batch = fc
  .tuple(
    fc.array(fc.option(fc.nat(9), { nil: IGNORED_TARGET }), { minLength: 1, maxLength: 60 }),
    fc.integer({ min: 1, max: 60 }),
  )
  .map(([targets, most]) => ({
    targets: Int32Array.from(targets),
    size: Math.ceil(targets.length / Math.ceil(targets.length / most)),
  }));

function tableOf(targets: Int32Array, size: number) {
  const feeds = readoutFeeds(targets, size);
  const data = (name: string) => [...(feeds[`readout:${name}`]!.data as Int32Array)];
  const [rows, labels, places] = [data('rows'), data('labels'), data('places')];
  return { rows, labels, places, dims: feeds['readout:rows']!.dims };
}

describe('the rows that are read out', () => {
  it('are the positions that count, each once, with their targets', () => {
    fc.assert(
      fc.property(batch, ({ targets, size }) => {
        const { rows, labels } = tableOf(targets, size);
        const counted = rows.flatMap((row, place) => (labels[place]! >= 0 ? [row] : []));
        const expected = [...targets.keys()].filter((row) => targets[row]! >= 0);
        expect(counted).toEqual(expected);
        expect(labels.filter((label) => label >= 0)).toEqual(expected.map((row) => targets[row]));
      }),
    );
  });

  it('are found from their positions; a position that does not count has a filler', () => {
    fc.assert(
      fc.property(batch, ({ targets, size }) => {
        const { rows, labels, places } = tableOf(targets, size);
        for (const [position, target] of targets.entries()) {
          const place = places[position]!;
          if (target >= 0) expect([rows[place], labels[place]]).toEqual([position, target]);
          else expect(labels[place]).toBeLessThan(0);
        }
      }),
    );
  });

  it('take lines of few lengths, none longer than a chunk', () => {
    const size = 100;
    const lengths = Array.from({ length: 300 }, (_, count) => {
      const targets = new Int32Array(300).fill(IGNORED_TARGET).fill(1, 0, count + 1);
      const [numChunks, length] = tableOf(targets, size).dims as readonly [number, number];
      expect(numChunks).toBe(3);
      expect(length).toBeLessThanOrEqual(size);
      return length;
    });
    expect(new Set(lengths).size).toBeLessThanOrEqual(8);
  });
});

it('chunks are about equal, and their logits take at most 64 MiB', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100_000 }),
      fc.integer({ min: 2, max: 200_000 }),
      (n, v) => {
        const size = chunkRows(n, v);
        expect(size === 1 || size * v * 4 <= 2 ** 26).toBe(true);
        const numChunks = Math.ceil(n / size);
        expect(numChunks * size - n).toBeLessThan(numChunks);
      },
    ),
  );
});
