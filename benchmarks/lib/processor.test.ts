/** A processor is named by its generation, whatever a cloud calls it. */
import { expect, test } from 'vitest';
import { describeProcessor, hasBf16Units } from './processor.js';

interface Facts {
  readonly vendor: string;
  readonly name: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly flags: string;
}

/** Two processors of the format of Linux; the first is read. */
const cpuinfo = ({ vendor, name, family, model, stepping, flags }: Facts) =>
  [0, 1]
    .map((index) =>
      [
        `processor\t: ${index}`,
        `vendor_id\t: ${vendor}`,
        `cpu family\t: ${family}`,
        `model\t\t: ${model}`,
        `model name\t: ${name}`,
        `stepping\t: ${stepping}`,
        `cpu MHz\t\t: 2600.000`,
        `flags\t\t: fpu ${flags} rdpid`,
        'bugs\t\t:',
      ].join('\n'),
    )
    .join('\n\n');

const XEON = { vendor: 'GenuineIntel', name: 'Intel(R) Xeon(R) Processor', family: 6 };
const EPYC = { vendor: 'AuthenticAMD', name: 'AMD EPYC', stepping: 1 };
const AVX512 = 'avx2 avx512f avx512_vnni';

// Numbers of real processors: 8259CL, 8375C, 8488C, 8592+, 6980P; 7R13, 9R14, 9R45, Ryzen 5950X.
test.each<[string, Facts]>([
  ['Skylake', { ...XEON, model: 85, stepping: 4, flags: 'avx2 avx512f' }],
  ['Cascade Lake', { ...XEON, model: 85, stepping: 7, flags: AVX512 }],
  ['Ice Lake', { ...XEON, model: 106, stepping: 6, flags: AVX512 }],
  ['Sapphire Rapids', { ...XEON, model: 143, stepping: 8, flags: `${AVX512} amx_tile` }],
  ['Emerald Rapids', { ...XEON, model: 207, stepping: 2, flags: `${AVX512} amx_tile` }],
  ['Granite Rapids', { ...XEON, model: 173, stepping: 1, flags: `${AVX512} amx_tile` }],
  ['Zen 3', { ...EPYC, family: 25, model: 1, flags: 'avx2' }],
  ['Zen 4', { ...EPYC, family: 25, model: 17, flags: AVX512 }],
  ['Zen 5', { ...EPYC, family: 26, model: 2, flags: AVX512 }],
  ['Zen 3', { ...EPYC, family: 25, model: 33, flags: 'avx2' }],
])('%s', (generation, facts) => {
  const { name, family, model, stepping } = facts;
  expect(describeProcessor(cpuinfo(facts))).toMatch(
    `${name} (${generation}: family ${family} model ${model} stepping ${stepping}`,
  );
});

test('units that products run on are named', () => {
  const flags = 'avx2 avx512f avx512_bf16 avx512_vnni amx_tile';
  expect(describeProcessor(cpuinfo({ ...XEON, model: 143, stepping: 8, flags }))).toMatch(
    /, AVX2, AVX-512, VNNI, BF16, AMX\)$/,
  );
});

test('a model number that contradicts the units is not believed', () => {
  // Rocket Lake, a desktop processor, has no matrix units; the hypervisor made the number up.
  const facts = { ...XEON, model: 167, stepping: 1, flags: `${AVX512} amx_tile` };
  expect(describeProcessor(cpuinfo(facts))).toMatch(
    '(Sapphire Rapids or later, by its AMX: family 6 model 167',
  );
});

test('what is not known is said', () => {
  const facts = { ...EPYC, family: 99, model: 1, flags: 'avx2' };
  expect(describeProcessor(cpuinfo(facts))).toMatch('(generation unknown: family 99 model 1');
  expect(describeProcessor('model name\t: ARM thing\n')).toBe('ARM thing');
  expect(describeProcessor('')).toBe('unknown processor');
});

test.each<[boolean, string]>([
  [false, AVX512],
  [false, 'avx512_fp16 amx_tile'],
  [true, `${AVX512} avx512_bf16`],
  [true, 'amx_bf16 amx_tile'],
])('products of bfloat16: %s of %s', (has, flags) => {
  expect(hasBf16Units(cpuinfo({ ...XEON, model: 143, stepping: 8, flags }))).toBe(has);
});
