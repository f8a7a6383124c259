/**
 * The laws of kept values and key-value stores, run against every way to open a device.
 *
 * With one position visible, attention gives that position's value whatever the query, so expected
 * numbers are those that were written.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as sourceErrors from '../errors.js';
import { buildGraph, input, mul, scalar } from '../graph/index.js';
import type { Command, Device, DeviceOptions, HostTensor, KvStore, Program } from './device.js';

const PAGE_SIZE = 4;
const WIDTH = 8; // one head of 8

const row = (...values: number[]): HostTensor => ({
  dtype: 'f32',
  dims: [values.length, WIDTH],
  data: Float32Array.from(values.flatMap((value) => new Array<number>(WIDTH).fill(value))),
});

/** Query, key and value of a row, each of equal numbers. */
const joined = (...values: number[]): HostTensor => ({
  ...row(...values),
  dims: [1, values.length * WIDTH],
});

export function kvStoreConformance(
  name: string,
  open: (options?: DeviceOptions) => Promise<Device>,
  errors: Pick<typeof sourceErrors, 'DisposedError' | 'ShapeError'> = sourceErrors,
): void {
  describe(`kept values and stores of ${name}`, () => {
    let device: Device;
    /** y = 2 x. */
    let double: Program;
    let store: KvStore;

    beforeAll(async () => {
      device = await open();
      double = await device.compile(
        buildGraph({ y: mul(input('x', 'f32', ['N', WIDTH]), scalar(2)) }),
      );
      store = await device.createKvStore({
        numLayers: 2,
        numHeads: 1,
        numKvHeads: 1,
        headDim: WIDTH,
        pageSize: PAGE_SIZE,
        dtype: 'f32',
      });
      await device.submit([{ kind: 'growPages', store, numPages: 3 }]);
    });
    afterAll(() => device.dispose());

    const run = (feed: HostTensor | { kept: string }, rest: object): Command => ({
      kind: 'run',
      program: double,
      feeds: { x: feed },
      ...rest,
    });

    /** Writes a value at a position of a page, and reads what a row sees that sees only it. */
    const attend = (layerIndex: number, page: number, value: number): readonly Command[] => [
      { kind: 'keep', values: { joined: joined(3, 5, value) } },
      {
        kind: 'attend',
        store,
        layerIndex,
        qkv: { kept: 'joined' },
        keep: 'attended',
        batch: {
          slots: Int32Array.of(page * PAGE_SIZE),
          lengths: Int32Array.of(1),
          cos: new Float32Array(WIDTH / 2).fill(1),
          sin: new Float32Array(WIDTH / 2),
          groups: [{ firstRow: 0, numRows: 1, table: Int32Array.of(page), via: 'kernel' }],
        },
      },
      run({ kept: 'attended' }, { fetch: ['y'] }),
    ];

    test('a kept output feeds a later command of the submit', async () => {
      const results = await device.submit([
        { kind: 'keep', values: { start: row(1) } },
        run({ kept: 'start' }, { keep: { y: 'twice' } }),
        run({ kept: 'twice' }, { fetch: ['y'], keep: { y: 'twice' } }),
        run({ kept: 'twice' }, { fetch: ['y'] }),
      ]);
      expect(results.map((result) => result['y']?.data[0])).toEqual([undefined, undefined, 4, 8]);
    });

    test('kept values end with their submit', async () => {
      await device.submit([{ kind: 'keep', values: { start: row(1) } }]);
      await expect(device.submit([run({ kept: 'start' }, { fetch: ['y'] })])).rejects.toThrow(
        errors.ShapeError,
      );
    });

    test('attention reads what was written to the page of its table, layer by layer', async () => {
      const first = await device.submit(attend(0, 1, 7));
      const second = await device.submit(attend(1, 1, 11));
      expect(first.at(-1)!['y']!.data[0]).toBeCloseTo(14, 5);
      expect(second.at(-1)!['y']!.data[0]).toBeCloseTo(22, 5);
    });

    test('copied slots hold the same values in every layer', async () => {
      await device.submit([...attend(0, 0, 4), ...attend(1, 0, 6)]);
      await device.submit([
        {
          kind: 'copySlots',
          store,
          from: Int32Array.of(0),
          to: Int32Array.of(2 * PAGE_SIZE + 1),
        },
      ]);
      // A row at position 1 of page 2 that overwrites position 0 with the same value sees two equals.
      for (const [layerIndex, value] of [4, 6].entries()) {
        const [keep, command, last] = attend(layerIndex, 2, value);
        const attending = command as Extract<Command, { kind: 'attend' }>;
        const batch = { ...attending.batch, lengths: Int32Array.of(2) };
        const results = await device.submit([keep!, { ...attending, batch }, last!]);
        expect(results.at(-1)!['y']!.data[0]).toBeCloseTo(2 * value, 5);
      }
    });

    test('contents outlive growing', async () => {
      await device.submit(attend(0, 0, 9));
      await device.submit([
        { kind: 'growPages', store, numPages: 40 },
        { kind: 'copySlots', store, from: Int32Array.of(0), to: Int32Array.of(39 * PAGE_SIZE + 1) },
      ]);
      const [keep, command, last] = attend(0, 39, 9);
      const attending = command as Extract<Command, { kind: 'attend' }>;
      const batch = { ...attending.batch, lengths: Int32Array.of(2) };
      const results = await device.submit([keep!, { ...attending, batch }, last!]);
      expect(results.at(-1)!['y']!.data[0]).toBeCloseTo(18, 5);
    });

    test('a freed store is refused, and its memory and programs are gone', async () => {
      const before = await device.stats();
      const other = await device.createKvStore({ ...store.spec, numLayers: 1 });
      expect((await device.stats()).bytes).toBeGreaterThan(before.bytes);
      await device.free(other);
      expect(await device.stats()).toEqual(before);
      await expect(
        device.submit([{ kind: 'growPages', store: other, numPages: 1 }]),
      ).rejects.toThrow(errors.DisposedError);
    });
  });
}
