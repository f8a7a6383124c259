/**
 * A few dozen of the attacks that `npm run attack` plays by the thousand: none ends in a stack, a crash,
 * a lost file or a message that nobody wrote.
 */
import { rmSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { BASES } from './attacks.js';
import { closeLibrary } from './library.js';
import { makePlace } from './place.js';
import { play } from './play.js';
import { verdictOf } from './verdict.js';

const SEED = 2026;
const NUM_ATTACKS = 60;

afterAll(closeLibrary);

test.each(BASES.map((base) => [base.argv.join(' '), base] as const))(
  'before it is spoilt, %s does what it says',
  async (_, { argv, input = '' }) => {
    const home = process.cwd();
    const place = makePlace();
    const env = { HF_HUB_OFFLINE: '1' };
    const attack = {
      argv,
      env,
      input,
      isTerminal: false,
      interruptMs: undefined,
      stdout: undefined,
      story: [],
    };
    const { exitCode, stderr } = await play(attack, place);
    process.chdir(home);
    rmSync(place.outer, { recursive: true });
    expect([exitCode, stderr]).toEqual([0, expect.not.stringMatching(/error|stack/)]);
  },
);

test.each(Array.from({ length: NUM_ATTACKS }, (_, index) => index))(
  `attack %i of seed ${SEED} is answered as it should be`,
  async (index) => {
    const { target, story, end, details, faults } = await verdictOf(SEED, index);
    expect(faults, [`${target}, ${end}; spoilt: ${story}`, ...details].join('\n')).toEqual([]);
  },
);
