/**
 * `npm run test:cluster -- --seed N --only TEXT`: machines that train together, with real processes and a real
 * server, and what may happen to them. Installs nats-server from Debian's package where it is missing (as root).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Draw } from '../draw.js';
import { readFlags } from '../flags.js';
import { installPrograms, missingPrograms, runProgram } from '../programs.js';
import { SCENARIOS, playScenario } from './scenarios.js';

const { seed, only } = readFlags({ seed: 1, only: '' });
const say = (line: string) => void process.stdout.write(`${line}\n`);

const names = Object.keys(SCENARIOS);
const played = names.filter((name) => name.includes(only));
if (played.length === 0) {
  process.stderr.write(
    `error: No scenario has "${only}" in its name; there are: ${names.join('; ')}.\n`,
  );
  process.exit(2);
}

const missing = missingPrograms(['nats-server']);
if (missing.length > 0) installPrograms(missing);
say(runProgram('nats-server', ['--version']).trim());

let numFaults = 0;
for (const name of played) {
  const start = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'looplm-cluster-'));
  say(name);
  try {
    const draw = new Draw(seed, names.indexOf(name));
    const faults = await playScenario(name, { folder, draw, say });
    for (const fault of faults) say(`  FAULT ${fault}`);
    numFaults += faults.length;
  } catch (error) {
    say(`  FAULT ${error instanceof Error ? error.stack : String(error)}`);
    numFaults++;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  say(`  ${Math.round((performance.now() - start) / 1000)} s`);
}
say(`seed ${seed}, ${numFaults} faults`);
process.exitCode = numFaults > 0 ? 1 : 0;
