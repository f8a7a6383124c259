/**
 * `npm run attack:http -- --seed N --count 10000`: plays bad requests against a server and prints what came
 * of them. `--only INDEX` plays one and prints all of it.
 */
import { readFlags } from '../flags.js';
import { playHttpAttacks } from './http-play.js';
import type { HttpVerdict } from './http-verdict.js';

const { seed, only, count: numAttacks } = readFlags({ seed: 1, count: 10_000, only: undefined });
const print = (line: string) => void process.stdout.write(`${line}\n`);

const indices =
  only === undefined ? Array.from({ length: numAttacks }, (_, index) => index) : [only];
const counts = new Map<string, number>();
let [numDone, numFaults] = [0, 0];

function tell({ index, target, story, status, faults, details }: HttpVerdict): void {
  numDone += 1;
  const key = faults.length > 0 ? 'FAULT' : String(status);
  counts.set(key, (counts.get(key) ?? 0) + 1);
  if (numDone % 500 === 0) print(`${numDone} of ${indices.length}`);
  if (faults.length === 0 && only === undefined) return;
  if (faults.length > 0) numFaults += 1;
  print(`#${index} of seed ${seed}: ${faults.join('; ') || 'as it should be'}`);
  print(`${target}, ${status}; spoilt: ${story.join(', ')}\n${details}\n`);
}

const { faults } = await playHttpAttacks({ seed, indices, onVerdict: tell });
for (const fault of faults) print(fault);
print('');
for (const [status, count] of [...counts].toSorted(([a], [b]) => a.localeCompare(b))) {
  print(`${status.padEnd(6)} ${count}`);
}
print(`${numDone} requests of seed ${seed}, ${numFaults + faults.length} faults`);
process.exitCode = numFaults + faults.length === 0 ? 0 : 1;
