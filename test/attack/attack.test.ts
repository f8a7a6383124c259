/**
 * A few dozen of the attacks that `npm run attack` plays by the thousand: none ends in a stack, a crash,
 * a lost file or a message that nobody wrote.
 */
import { afterAll, expect, test } from 'vitest';
import { closeLibrary } from './library.js';
import { LIBRARY_SHARE, verdictOf } from './verdict.js';

const SEED = 2026;
const NUM_ATTACKS = 60;

afterAll(closeLibrary);

const indices = Array.from({ length: NUM_ATTACKS }, (_, index) => index);

test.each(indices.filter((index) => index % LIBRARY_SHARE !== 0))(
  `attack %i of seed ${SEED} is answered as it should be`,
  async (index) => {
    const { target, story, end, details, faults } = await verdictOf(SEED, index);
    expect(faults, [`${target}, ${end}; spoilt: ${story}`, ...details].join('\n')).toEqual([]);
  },
);
