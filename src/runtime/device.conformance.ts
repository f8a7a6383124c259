/**
 * The laws of `Device`, run against every way to open one.
 *
 * Expected numbers are sums and products that a reader can do in the head.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as sourceErrors from '../errors.js';
import {
  add,
  buildGraph,
  cast,
  input,
  matmul,
  mul,
  parameter,
  reduceSum,
  scalar,
} from '../graph/index.js';
import type {
  Command,
  Device,
  DeviceBuffer,
  DeviceOptions,
  Feed,
  HostTensor,
  Kept,
  Program,
} from './device.js';

const f32 = (dims: readonly number[], ...values: number[]): HostTensor => ({
  dtype: 'f32',
  dims,
  data: Float32Array.from(values),
});

/** Runs the suite on devices made by `open`, which throw the classes of `errors`. */
export function deviceConformance(
  name: string,
  open: (options?: DeviceOptions) => Promise<Device>,
  errors: Pick<
    typeof sourceErrors,
    'CapacityError' | 'ConfigError' | 'DisposedError' | 'ShapeError'
  > = sourceErrors,
): void {
  const { CapacityError, ConfigError, DisposedError, ShapeError } = errors;
  describe(name, () => {
    let device: Device;
    /** y = 2 x, total = sum over x, for x of [N, 2]. */
    let double: Program;

    beforeAll(async () => {
      device = await open();
      const x = input('x', 'f32', ['N', 2]);
      double = await device.compile(
        buildGraph({ y: mul(x, scalar(2)), total: reduceSum(x, [0, 1]) }),
      );
    });
    afterAll(() => device.dispose());

    const run = async (command: Omit<Extract<Command, { kind: 'run' }>, 'kind' | 'program'>) =>
      (await device.submit([{ kind: 'run', program: double, ...command }]))[0]!;
    const contents = async (buffer: DeviceBuffer) => [...(await device.download(buffer)).data];

    test('a program names its inputs and outputs', () => {
      expect(double.inputNames).toEqual(['x']);
      expect(double.outputNames).toEqual(['y', 'total']);
    });

    test('a run returns what it was asked to fetch and nothing else', async () => {
      const result = await run({ feeds: { x: f32([2, 2], 1, 2, 3, 4) }, fetch: ['y'] });
      expect(result).toEqual({ y: f32([2, 2], 2, 4, 6, 8) });
    });

    test('one program serves every size of its named axis, also zero', async () => {
      const fetch = ['y', 'total'];
      expect(await run({ feeds: { x: f32([1, 2], 5, 6) }, fetch })).toEqual({
        y: f32([1, 2], 10, 12),
        total: f32([], 11),
      });
      const empty = await run({ feeds: { x: f32([0, 2]) }, fetch: ['y'] });
      expect(empty).toEqual({ y: f32([0, 2]) });
    });

    test('a fed view of a larger array is read where it starts and stays usable', async () => {
      const large = Float32Array.of(9, 9, 1, 2, 9);
      const x: HostTensor = { dtype: 'f32', dims: [1, 2], data: large.subarray(2, 4) };
      const [first, second] = [
        await run({ feeds: { x }, fetch: ['y'] }),
        await run({ feeds: { x }, fetch: ['y'] }),
      ];
      expect(first['y']).toEqual(f32([1, 2], 2, 4));
      expect(second).toEqual(first);
      expect([...large]).toEqual([9, 9, 1, 2, 9]);
    });

    test('every element type goes in and comes out with the same bits', async () => {
      const program = await device.compile(
        buildGraph({
          i32: add(input('a', 'i32', ['N']), input('a2', 'i32', ['N'])),
          i64: cast(input('b', 'i64', ['N']), 'i64'),
          u8: cast(input('c', 'u8', ['N']), 'u8'),
          bool: cast(input('d', 'f32', ['N']), 'bool'),
          f16: cast(input('d2', 'f32', ['N']), 'f16'),
        }),
      );
      const data = { i32: Int32Array.of(-7, 2 ** 30), i64: BigInt64Array.of(-7n, 2n ** 60n) };
      const [result] = await device.submit([
        {
          kind: 'run',
          program,
          feeds: {
            a: { dtype: 'i32', dims: [2], data: data.i32 },
            a2: { dtype: 'i32', dims: [2], data: Int32Array.of(0, 0) },
            b: { dtype: 'i64', dims: [2], data: data.i64 },
            c: { dtype: 'u8', dims: [2], data: Uint8Array.of(0, 255) },
            d: f32([2], 0, 3),
            d2: f32([2], 1, -2),
          },
          fetch: ['i32', 'i64', 'u8', 'bool', 'f16'],
        },
      ]);
      await device.free(program);
      expect(result).toEqual({
        i32: { dtype: 'i32', dims: [2], data: data.i32 },
        i64: { dtype: 'i64', dims: [2], data: data.i64 },
        u8: { dtype: 'u8', dims: [2], data: Uint8Array.of(0, 255) },
        bool: { dtype: 'bool', dims: [2], data: Uint8Array.of(0, 1) },
        f16: { dtype: 'f16', dims: [2], data: Uint16Array.of(0x3c00, 0xc000) },
      });
    });

    test('parameters become constants of the program, whatever happens to their arrays', async () => {
      const weights = Float32Array.of(10, 20);
      const x = input('x', 'f32', ['N', 2]);
      const program = await device.compile(
        buildGraph({ y: add(x, parameter('w', 'f32', [2], weights)) }),
      );
      weights.fill(0);
      const feeds = { x: f32([1, 2], 1, 2) };
      const [result] = await device.submit([{ kind: 'run', program, feeds, fetch: ['y'] }]);
      await device.free(program);
      expect(result).toEqual({ y: f32([1, 2], 11, 22) });
    });

    test('a bound input is read from its buffer in every run, as it is then', async () => {
      const buffer = await device.upload(f32([1, 2], 1, 2));
      const graph = buildGraph({
        y: mul(input('x', 'f32', ['N', 2]), input('w', 'f32', [1, 2])),
      });
      const program = await device.compile(graph, { bound: { w: buffer } });
      expect(program.inputNames).toEqual(['x']);
      const feeds = { x: f32([2, 2], 1, 1, 1, 1) };
      const times = { kind: 'run', program, feeds, fetch: ['y'] } as const;
      const change: Command = {
        kind: 'run',
        program: double,
        feeds: { x: buffer },
        store: { y: buffer },
      };
      const results = await device.submit([times, change, times]);
      expect(results.map(({ y }) => y && [...y.data])).toEqual([
        [1, 2, 1, 2],
        undefined,
        [2, 4, 2, 4],
      ]);
      await expect(
        device.submit([{ ...times, feeds: { ...feeds, w: f32([1, 2], 1, 1) } }]),
      ).rejects.toThrow(/was fed "w"; it takes "x"/);
      await device.free(buffer);
      await expect(device.submit([times])).rejects.toThrow(DisposedError);
      await device.free(program);
    });

    test('buffers that do not fit the input they are bound to are refused', async () => {
      const graph = buildGraph({ y: input('w', 'f32', [2]) });
      const buffer = await device.allocate('f32', [3]);
      const before = await device.stats();
      const compile = (bound: Readonly<Record<string, DeviceBuffer>>) =>
        device.compile(graph, { bound });
      await expect(compile({ w: buffer })).rejects.toThrow(
        /fed "w" as f32 \[3\]; it takes f32 \[2\]/,
      );
      await expect(compile({ v: buffer })).rejects.toThrow(ShapeError);
      expect(await device.stats()).toEqual(before);
      await device.free(buffer);
    });

    test('an allocated buffer is zero and an uploaded one keeps its own copy', async () => {
      const zero = await device.allocate('f32', [2, 2]);
      const tensor = f32([2], 1, 2);
      const uploaded = await device.upload(tensor);
      tensor.data.fill(0 as never);
      (await device.download(uploaded)).data.fill(0 as never);
      expect(await contents(zero)).toEqual([0, 0, 0, 0]);
      expect(await contents(uploaded)).toEqual([1, 2]);
      expect(uploaded).toMatchObject({ dtype: 'f32', dims: [2] });
      await device.free(zero);
      await device.free(uploaded);
    });

    test('a stored output is the content that later commands of the same submit see', async () => {
      const buffer = await device.upload(f32([1, 2], 1, 3));
      const once = { kind: 'run', program: double, feeds: { x: buffer } } as const;
      const results = await device.submit([
        { ...once, store: { y: buffer } },
        { ...once, store: { y: buffer }, fetch: ['y', 'total'] },
        { ...once, store: { y: buffer } },
      ]);
      expect(results).toEqual([{}, { y: f32([1, 2], 4, 12), total: f32([], 8) }, {}]);
      expect(await contents(buffer)).toEqual([8, 24]);
      await device.free(buffer);
    });

    test("what was fetched is the caller's own, also when it was stored", async () => {
      const buffer = await device.allocate('f32', [1, 2]);
      const { y } = await run({
        feeds: { x: f32([1, 2], 1, 2) },
        store: { y: buffer },
        fetch: ['y'],
      });
      y!.data.fill(0 as never);
      expect(await contents(buffer)).toEqual([2, 4]);
      await device.free(buffer);
    });

    describe('an elementwise run', () => {
      /** next = x + scale * y, for vectors. */
      let step: Program;
      beforeAll(async () => {
        const scaled = mul(input('y', 'f32', ['N']), input('scale', 'f32', []));
        step = await device.compile(buildGraph({ next: add(input('x', 'f32', ['N']), scaled) }));
      });
      afterAll(() => device.free(step));

      const elementwise = (
        { x, y }: { readonly x: readonly Feed[]; readonly y: readonly Feed[] },
        scale: number,
        next: readonly (DeviceBuffer | Kept)[],
      ): Command => ({
        kind: 'runElementwise',
        program: step,
        feeds: { scale: f32([], scale) },
        lines: { x, y },
        store: { next },
      });

      test('takes tensors of any shape and writes over buffers and kept outputs', async () => {
        const x = await device.upload(f32([2, 2], 1, 2, 3, 4));
        const kept = { kept: 'kept' };
        const results = await device.submit([
          { kind: 'run', program: double, feeds: { x: f32([1, 2], 1, 0) }, keep: { y: 'kept' } },
          elementwise({ x: [x, kept], y: [f32([4], 1, 1, 1, 0), f32([2, 1], 3, 4)] }, 10, [
            x,
            kept,
          ]),
          elementwise({ x: [kept], y: [kept] }, 1, [kept]),
          { kind: 'take', names: ['kept'] },
        ]);
        expect(results).toEqual([{}, {}, {}, { kept: f32([1, 2], 64, 80) }]);
        expect((await device.download(x)).dims).toEqual([2, 2]);
        expect(await contents(x)).toEqual([11, 12, 13, 4]);
        await device.free(x);
      });

      test('computes every element, however many there are', async () => {
        const many = 2 ** 18;
        const line = [3, many - 1, 0, 2, 2 * many + 3, many, 1];
        const numbers = line.map((size) => Float32Array.from({ length: size }, (_, i) => size + i));
        const buffers = await Promise.all(
          numbers.map((data) => device.upload({ dtype: 'f32', dims: [data.length], data })),
        );
        await device.submit([elementwise({ x: buffers, y: buffers }, 2, buffers)]);
        for (const [index, buffer] of buffers.entries()) {
          const data = (await device.download(buffer)).data as Float32Array;
          expect(data).toHaveLength(line[index]!);
          expect(data.findIndex((number, i) => number !== 3 * numbers[index]![i]!)).toBe(-1);
          await device.free(buffer);
        }
      });

      test('refuses tensors of different sizes and other mistakes, and writes nothing', async () => {
        const x = await device.upload(f32([2], 1, 2));
        const ints = await device.allocate('i32', [2]);
        const right = elementwise({ x: [x], y: [x] }, 1, [x]);
        const refuse = async (rest: object, message: RegExp) => {
          const refused = device.submit([{ ...right, ...rest }]);
          await expect(refused).rejects.toThrow(ShapeError);
          await expect(refused).rejects.toThrow(message);
        };
        const lines = (y: readonly Feed[]) => ({ lines: { x: [x], y } });
        await refuse(lines([f32([1, 1], 1)]), /with "x" of 2 elements and "y" of 1\. Pass as many/);
        await refuse(lines([x, x]), /with "x" of 2 elements and "y" of 2, 2\. Pass as many/);
        await refuse(
          { lines: { x: [x, x], y: [x, ints] }, store: { next: [x, x] } },
          /with "y" of f32 and i32\. Pass tensors of one type/,
        );
        await refuse(lines([ints]), /"y" as i32 \[2\]; it takes f32 \[N\]/);
        await refuse({ lines: { x: [], y: [] }, store: { next: [] } }, /over no tensors/);
        await refuse({ lines: { x: [x] } }, /was not fed "y"/);
        await refuse({ feeds: {} }, /was not fed "scale"/);
        await refuse({ feeds: { scale: f32([1], 1) } }, /"scale" as f32 \[1\]; it takes f32 \[\]/);
        await refuse({ feeds: { scale: f32([], 1), z: x } }, /was fed "z"/);
        await refuse({ store: {} }, /for no output; it has "next"/);
        await refuse({ store: { other: [x] } }, /asked for "other"; it has "next"/);
        await refuse(
          { store: { next: [ints] } },
          /f32 \[2\]; it is stored into a buffer of i32 \[2\]/,
        );
        expect(await contents(x)).toEqual([1, 2]);
        await device.free(x);
        await device.free(ints);
      });
    });

    test('what is taken is there no longer', async () => {
      const keeping = { kind: 'run', program: double, feeds: { x: f32([1, 2], 1, 2) } } as const;
      const taking = { kind: 'take', names: ['y'] } as const;
      const refused = device.submit([{ ...keeping, keep: { y: 'y' } }, taking, taking]);
      await expect(refused).rejects.toThrow(/reads the kept value "y"; none is kept/);
    });

    test('scatter writes the rows it names along its axis and leaves the others', async () => {
      const byRow = await device.allocate('f32', [4, 2]);
      const byColumn = await device.allocate('f32', [2, 3]);
      const x = f32([2, 2], 1, 2, 3, 4);
      await run({ feeds: { x }, scatter: { y: { to: byRow, axis: 0, rows: [3, 1] } } });
      await run({ feeds: { x }, scatter: { y: { to: byColumn, axis: 1, rows: [2, 0] } } });
      expect(await contents(byRow)).toEqual([0, 0, 6, 8, 0, 0, 2, 4]);
      expect(await contents(byColumn)).toEqual([4, 0, 2, 8, 0, 6]);
      await device.free(byRow);
      await device.free(byColumn);
    });

    test('copyRows moves rows between buffers and within one, reading before writing', async () => {
      const from = await device.upload(f32([2, 3], 1, 2, 3, 4, 5, 6));
      const to = await device.allocate('f32', [2, 2]);
      const results = await device.submit([
        { kind: 'copyRows', from, to, axis: 1, fromRows: [2, 0], toRows: [0, 1] },
        { kind: 'copyRows', from, to: from, axis: 1, fromRows: [0, 1], toRows: [1, 2] },
      ]);
      expect(results).toEqual([{}, {}]);
      expect(await contents(to)).toEqual([3, 1, 6, 4]);
      expect(await contents(from)).toEqual([1, 1, 2, 4, 4, 5]);
      await device.free(from);
      await device.free(to);
    });

    test('calls that are not awaited take effect in their order', async () => {
      const buffer = await device.upload(f32([1, 2], 1, 1));
      const command: Command = {
        kind: 'run',
        program: double,
        feeds: { x: buffer },
        store: { y: buffer },
        fetch: ['total'],
      };
      const pending = Array.from({ length: 8 }, () => device.submit([command]));
      const last = contents(buffer);
      const totals = (await Promise.all(pending)).map(([result]) => result!['total']!.data[0]);
      expect(totals).toEqual([2, 4, 8, 16, 32, 64, 128, 256]);
      expect(await last).toEqual([256, 256]);
      await device.free(buffer);
    });

    test('freeing brings the counts back to where they started', async () => {
      const start = await device.stats();
      const program = await device.compile(buildGraph({ y: input('x', 'f32', [2]) }));
      const buffer = await device.allocate('f32', [5, 2]);
      const held = await device.stats();
      await device.submit([{ kind: 'run', program, feeds: { x: f32([2], 1, 2) }, fetch: ['y'] }]);
      await device.free(buffer);
      await device.free(program);
      expect(held).toEqual({
        buffers: start.buffers + 1,
        bytes: start.bytes + 40,
        programs: start.programs + 1,
      });
      expect(await device.stats()).toEqual(start);
    });

    test('storing does not grow the memory that is held', async () => {
      const buffer = await device.upload(f32([1, 2], 1, 1));
      const start = await device.stats();
      for (let i = 0; i < 3; i++) await run({ feeds: { x: buffer }, store: { y: buffer } });
      expect(await device.stats()).toEqual(start);
      await device.free(buffer);
    });

    test('a freed buffer and a freed program are refused', async () => {
      const buffer = await device.allocate('f32', [1, 2]);
      const program = await device.compile(buildGraph({ y: input('x', 'f32', [1, 2]) }));
      await device.free(buffer);
      await device.free(program);
      const feeds = { x: f32([1, 2], 1, 2) };
      await expect(device.download(buffer)).rejects.toThrow(DisposedError);
      await expect(device.free(buffer)).rejects.toThrow(DisposedError);
      await expect(run({ feeds: { x: buffer }, fetch: ['y'] })).rejects.toThrow(DisposedError);
      await expect(device.submit([{ kind: 'run', program, feeds, fetch: ['y'] }])).rejects.toThrow(
        DisposedError,
      );
    });

    test.each([
      ['a missing input', {}, /was not fed "x"; it takes "x"/],
      ['an unknown input', { x: f32([1, 2], 1, 2), z: f32([], 1) }, /was fed "z"; it takes "x"/],
      ['another size', { x: f32([1, 3], 1, 2, 3) }, /f32 \[1, 3\]; it takes f32 \[N, 2\]/],
      ['another rank', { x: f32([2], 1, 2) }, /f32 \[2\]; it takes f32 \[N, 2\]/],
      [
        'another type',
        { x: { dtype: 'i32', dims: [1, 2], data: Int32Array.of(1, 2) } as const },
        /i32 \[1, 2\]; it takes f32/,
      ],
      ['too few elements', { x: f32([2, 2], 1, 2) }, /has 2 elements; \[2, 2\] needs 4/],
      [
        'the wrong kind of array',
        { x: { dtype: 'f32', dims: [1, 2], data: Int32Array.of(1, 2) } as const },
        /Int32Array as f32; f32 is held in a Float32Array/,
      ],
    ])('a feed with %s is refused', async (_, feeds, message) => {
      const refused = run({ feeds, fetch: ['y'] });
      await expect(refused).rejects.toThrow(ShapeError);
      await expect(refused).rejects.toThrow(message);
    });

    test('a named size must be the same in all inputs', async () => {
      const program = await device.compile(
        buildGraph({ y: add(input('a', 'f32', ['N']), input('b', 'f32', ['N'])) }),
      );
      const feeds = { a: f32([2], 1, 2), b: f32([3], 1, 2, 3) };
      await expect(device.submit([{ kind: 'run', program, feeds, fetch: ['y'] }])).rejects.toThrow(
        /"b" as f32 \[3\]; it takes f32 \[N\], and N is 2 by "a"/,
      );
      await device.free(program);
    });

    test('outputs that do not exist or do not fit are refused, and nothing is written', async () => {
      const small = await device.allocate('f32', [1, 2]);
      const ints = await device.allocate('i32', [4, 2]);
      const x = f32([2, 2], 1, 2, 3, 4);
      const refuse = async (rest: object, message: RegExp) => {
        const refused = run({ feeds: { x }, ...rest });
        await expect(refused).rejects.toThrow(ShapeError);
        await expect(refused).rejects.toThrow(message);
      };
      const scatter = (to: DeviceBuffer, axis: number, rows: number[]) => ({
        scatter: { y: { to, axis, rows } },
      });
      await refuse({}, /for no output; it has "y", "total"/);
      await refuse({ fetch: ['z'] }, /asked for "z"; it has "y", "total"/);
      await refuse(
        { store: { y: small } },
        /f32 \[2, 2\]; it is stored into a buffer of f32 \[1, 2\]/,
      );
      await refuse(scatter(small, 0, [0]), /names 1 rows; the output has 2/);
      await refuse(scatter(small, 0, [0, 1]), /names row 1; there are 1 rows/);
      await refuse(scatter(small, 0, [0, -1]), /names row -1/);
      await refuse(scatter(small, 0, [0, 0.5]), /names row 0.5/);
      await refuse(scatter(small, 1, [0, 1]), /every axis but 1 must agree/);
      await refuse(scatter(small, 2, [0, 1]), /has axis 2; \[2, 2\] has axes 0 to 1/);
      await refuse(scatter(ints, 0, [0, 1]), /copies f32 into a buffer of i32/);
      expect(await contents(small)).toEqual([0, 0]);
      await device.free(small);
      await device.free(ints);
    });

    test('copyRows refuses rows that do not exist or do not pair', async () => {
      const buffer = await device.upload(f32([2, 2], 1, 2, 3, 4));
      const copy = (fromRows: number[], toRows: number[]) =>
        device.submit([{ kind: 'copyRows', from: buffer, to: buffer, axis: 0, fromRows, toRows }]);
      await expect(copy([0, 2], [0, 1])).rejects.toThrow(/from names row 2; there are 2 rows/);
      await expect(copy([0, 1], [0, 2])).rejects.toThrow(/to names row 2/);
      await expect(copy([0, 1], [0])).rejects.toThrow(/2 fromRows and 1 toRows/);
      expect(await contents(buffer)).toEqual([1, 2, 3, 4]);
      await device.free(buffer);
    });

    test('an error keeps its class, code and message, and the device works on', async () => {
      const error = await device.allocate('f32', [2, -1]).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(ShapeError);
      expect(error).toMatchObject({ name: 'ShapeError', code: 'shape' });
      expect(String(error)).toMatch(/^ShapeError: a buffer of f32 \[2, -1\] was asked for/);
      await expect(device.allocate('f32', [2 ** 40])).rejects.toThrow(CapacityError);
      expect(await run({ feeds: { x: f32([1, 2], 1, 2) }, fetch: ['total'] })).toEqual({
        total: f32([], 3),
      });
    });

    test.each([{ numThreads: 0 }, { numThreads: 1.5 }, { device: 'webgpu' } as DeviceOptions])(
      'a device is not opened with %j',
      async (options) => {
        await expect(open(options)).rejects.toThrow(ConfigError);
      },
    );

    test('a submit under way when the device is disposed ends before its next program', async () => {
      const other = await open({ numThreads: 1 });
      const size = 256;
      const x = input('x', 'f32', [size, size]);
      const program = await other.compile(buildGraph({ y: matmul(x, x) }));
      const zeros = {
        dtype: 'f32',
        dims: [size, size],
        data: new Float32Array(size ** 2),
      } as const;
      const command = {
        kind: 'run',
        program,
        feeds: { x: { kept: 'x' } },
        keep: { y: 'y' },
      } as const;
      // seconds of work
      const submitted = other.submit([
        { kind: 'keep', values: { x: zeros } },
        ...Array.from({ length: 5000 }, () => command),
      ]);
      const refused = expect(submitted).rejects.toThrow(DisposedError);
      await other.dispose();
      await refused;
    });

    test('after dispose every call is refused; disposing twice is harmless', async () => {
      const other = await open({ numThreads: 1 });
      const buffer = await other.upload(f32([1], 7));
      const pending = other.download(buffer);
      await other.dispose();
      await other.dispose();
      expect([...(await pending).data]).toEqual([7]);
      await expect(other.download(buffer)).rejects.toThrow(DisposedError);
      await expect(other.stats()).rejects.toThrow(DisposedError);
      await expect(other.submit([])).rejects.toThrow(DisposedError);
    });
  });
}
