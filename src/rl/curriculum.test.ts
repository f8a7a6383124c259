import { describe, expect, it } from 'vitest';
import { generatorFor } from '../util/random.js';
import { Curriculum } from './curriculum.js';

const OPTIONS = { maxDifficulty: 5, target: 0.4, spread: 0.15, uniformShare: 0.1 };

/** Share of each difficulty in 4000 draws. */
function sharesOf(curriculum: Curriculum): readonly number[] {
  const rng = generatorFor(3);
  const counts = [0, 0, 0, 0, 0];
  for (let draw = 0; draw < 4000; draw++) counts[curriculum.draw(rng) - 1]! += 1 / 4000;
  return counts;
}

describe('the curriculum', () => {
  it('draws all difficulties alike before it has seen any, and where none is near the target', () => {
    for (const share of sharesOf(new Curriculum(OPTIONS))) expect(share).toBeCloseTo(0.2, 1);
    const hopeless = new Curriculum(OPTIONS);
    for (let difficulty = 1; difficulty <= 5; difficulty++) hopeless.observe(difficulty, 50);
    for (const share of sharesOf(hopeless)) expect(share).toBeCloseTo(0.2, 1);
  });

  it('draws those most that are solved about as often as the target, and forgets none', () => {
    const curriculum = new Curriculum(OPTIONS);
    [1, 0.9, 0.4, 0.05, 0].forEach((reward, index) => curriculum.observe(index + 1, reward));
    const shares = sharesOf(curriculum);
    expect(shares[2]).toBeGreaterThan(0.8);
    for (const share of shares) expect(share).toBeGreaterThan(0.01);
  });

  it('follows what is measured, and goes on from what it saved', () => {
    const curriculum = new Curriculum(OPTIONS);
    for (let group = 0; group < 30; group++) curriculum.observe(2, 0.4);
    for (let group = 0; group < 30; group++) curriculum.observe(2, 0.9);
    expect(curriculum.means[1]).toBeCloseTo(0.9, 2);
    expect(curriculum.means[0]).toBeNaN();
    const other = new Curriculum(OPTIONS);
    other.restore(JSON.parse(JSON.stringify(curriculum.save())));
    expect(other.means).toEqual(curriculum.means);
    expect(sharesOf(other)).toEqual(sharesOf(curriculum));
    expect(() => other.restore([1])).toThrow(/too_small|expected/i);
  });
});
