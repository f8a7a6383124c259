/**
 * Which generation a processor is of: clouds name it "Intel(R) Xeon(R) Processor" or "AMD EPYC", and
 * what products cost differs twofold between generations.
 *
 * By family, model and stepping. A model number that cannot have the units that the processor reports
 * was made up by a hypervisor: then the units say what it is at least.
 * Source: the Linux kernel, arch/x86/include/asm/intel-family.h and arch/x86/kernel/cpu/amd.c.
 */

interface Generation {
  readonly name: string;
  readonly vendor: 'GenuineIntel' | 'AuthenticAMD';
  readonly family: number;
  /** First and last. */
  readonly models: readonly [number, number];
  readonly steppings?: readonly [number, number];
}

const intel = (name: string, model: number, steppings?: readonly [number, number]): Generation => ({
  name,
  vendor: 'GenuineIntel',
  family: 6,
  models: [model, model],
  ...(steppings && { steppings }),
});
const amd = (name: string, family: number, first: number, last: number): Generation => ({
  name,
  vendor: 'AuthenticAMD',
  family,
  models: [first, last],
});

const GENERATIONS: readonly Generation[] = [
  intel('Haswell', 63),
  intel('Broadwell', 79),
  intel('Skylake', 85, [0, 4]),
  intel('Cascade Lake', 85, [5, 7]),
  intel('Cooper Lake', 85, [10, 11]),
  intel('Ice Lake', 106),
  intel('Ice Lake', 108),
  intel('Rocket Lake', 167),
  intel('Alder Lake', 151),
  intel('Alder Lake', 154),
  intel('Raptor Lake', 183),
  intel('Sapphire Rapids', 143),
  intel('Emerald Rapids', 207),
  intel('Granite Rapids', 173),
  intel('Granite Rapids', 174),
  intel('Sierra Forest', 175),
  amd('Zen', 23, 0x00, 0x2f),
  amd('Zen 2', 23, 0x30, 0xff),
  amd('Zen 3', 25, 0x00, 0x0f),
  amd('Zen 4', 25, 0x10, 0x1f),
  amd('Zen 3', 25, 0x20, 0x5f),
  amd('Zen 4', 25, 0x60, 0xaf),
  amd('Zen 5', 26, 0x00, 0x4f),
  amd('Zen 5', 26, 0x60, 0x7f),
  amd('Zen 6', 26, 0x50, 0x5f),
  amd('Zen 6', 26, 0x80, 0xcf),
];

/** Intel's generations that have matrix units. */
const WITH_AMX = new Set(['Sapphire Rapids', 'Emerald Rapids', 'Granite Rapids']);

/** Units that products run on, by the flag of each. */
const UNITS: Readonly<Record<string, string>> = {
  avx2: 'AVX2',
  avx512f: 'AVX-512',
  avx512_vnni: 'VNNI',
  avx_vnni: 'AVX-VNNI',
  avx512_bf16: 'BF16',
  avx512_fp16: 'FP16',
  amx_tile: 'AMX',
};

/** The processor in a line, from the text of /proc/cpuinfo; its name alone where that says no more. */
export function describeProcessor(cpuinfo: string): string {
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1]?.trim();
  const name = field('model name') ?? 'unknown processor';
  const [family, model, stepping] = ['cpu family', 'model', 'stepping'].map((key) =>
    Number(field(key)),
  ) as [number, number, number];
  if (!Number.isFinite(family)) return name;
  const flags = new Set(field('flags')?.split(' '));
  const known = GENERATIONS.find(
    ({ vendor, family: ofFamily, models: [first, last], steppings: [low, high] = [0, Infinity] }) =>
      vendor === field('vendor_id') &&
      family === ofFamily &&
      model >= first &&
      model <= last &&
      stepping >= low &&
      stepping <= high,
  );
  const hasAmx = flags.has('amx_tile');
  const isPossible = known && (!hasAmx || WITH_AMX.has(known.name));
  const atLeast = hasAmx ? 'Sapphire Rapids or later, by its AMX' : 'generation unknown';
  const units = Object.keys(UNITS).filter((flag) => flags.has(flag));
  return [
    `${name} (${isPossible ? known.name : atLeast}: family ${family} model ${model} stepping ${stepping}`,
    ...units.map((flag) => UNITS[flag]),
  ]
    .join(', ')
    .concat(')');
}

/**
 * Whether the processor has units for products of bfloat16, from the text of /proc/cpuinfo. Without them
 * PyTorch makes them up, and a step takes minutes.
 */
export function hasBf16Units(cpuinfo: string): boolean {
  return /^flags\s*:.*\b(avx512_bf16|amx_bf16)\b/m.test(cpuinfo);
}
