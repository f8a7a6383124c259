/**
 * `npm run test:cluster -- --seed N --only TEXT`: machines that train together, with real processes and a real
 * server, and what may happen to them. Installs nats-server from Debian's package where it is missing (as root).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Draw } from '../draw.js';
import { installPrograms, missingPrograms, runProgram } from '../programs.js';
import { SCENARIOS, playScenario } from './scenarios.js';

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, only: { type: 'string', default: '' } },
});
const say = (line: string) => void process.stdout.write(`${line}\n`);

const missing = missingPrograms(['nats-server']);
if (missing.length > 0) installPrograms(missing);
say(runProgram('nats-server', ['--version']).trim());

let numFaults = 0;
const names = Object.keys(SCENARIOS);
for (const name of names.filter((it) => it.includes(values.only))) {
  const start = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'looplm-cluster-'));
  say(name);
  try {
    const draw = new Draw(Number(values.seed), names.indexOf(name));
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
say(`seed ${values.seed}, ${numFaults} faults`);
process.exitCode = numFaults > 0 ? 1 : 0;
