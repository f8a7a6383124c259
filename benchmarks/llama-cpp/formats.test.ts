/** Random blocks, decoded as ggml decodes them. */
import { expect, test } from 'vitest';
import { BLOCK_SIZE, FORMATS, randomBlocks } from './formats.js';

const NUM_BLOCKS = 2 ** 15 + 40; // more than a piece

function bytesOf(format: keyof typeof FORMATS, seed: number): Buffer {
  const request = { numBlocks: NUM_BLOCKS, seed, deviation: 0.02 };
  return Buffer.concat([...randomBlocks(FORMATS[format], request)]);
}

/** Numbers of the first blocks. Q4_0: low nibbles are the first half of a block. */
function decoded(format: keyof typeof FORMATS, bytes: Buffer): number[] {
  const { bytesPerBlock } = FORMATS[format];
  return Array.from({ length: 1000 }, (_, block) => {
    const at = block * bytesPerBlock;
    const bits = bytes.readUInt16LE(at);
    // Of a normal f16: exponent less 15, and ten bits after the point.
    const scale = 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024);
    return Array.from({ length: BLOCK_SIZE }, (__, i) => {
      if (format === 'q8_0') return scale * bytes.readInt8(at + 2 + i);
      const byte = bytes[at + 2 + (i % 16)]!;
      return scale * ((i < 16 ? byte & 15 : byte >> 4) - 8);
    });
  }).flat();
}

test.each(['q4_0', 'q8_0'] as const)('%s numbers have the deviation asked for', (format) => {
  const bytes = bytesOf(format, 1);
  expect(bytes).toHaveLength(NUM_BLOCKS * FORMATS[format].bytesPerBlock);
  const values = decoded(format, bytes);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  expect(Math.sqrt(variance) / 0.02).toBeCloseTo(1, 1);
});

test('blocks differ by seed and place, and not between calls', () => {
  const [first, again, other] = [bytesOf('q8_0', 1), bytesOf('q8_0', 1), bytesOf('q8_0', 2)];
  expect(first.equals(again)).toBe(true);
  expect(first.equals(other)).toBe(false);
  const { bytesPerBlock } = FORMATS.q8_0;
  const blocks = Array.from({ length: NUM_BLOCKS }, (_, block) =>
    first.subarray(block * bytesPerBlock, (block + 1) * bytesPerBlock).toString('latin1'),
  );
  expect(new Set(blocks).size).toBe(NUM_BLOCKS);
});
