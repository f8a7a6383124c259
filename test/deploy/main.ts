/**
 * `npm run test:deploy -- --seed N --requests 240`: the arrangement of deploy/ with real programs. Installs
 * HAProxy and Prometheus from Debian's packages where they are missing (as root).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkBalancerConfig } from './balancer.js';
import { readFlags } from '../flags.js';
import { installPrograms, missingPrograms, runProgram } from '../programs.js';
import { checkPrometheusConfig } from './prometheus.js';
import { DEPLOY_PROGRAMS, playScenario } from './scenario.js';

const flags = readFlags({ seed: 1, requests: 240, tokens: 300, sessions: 12 });
const say = (line: string) => void process.stdout.write(`${line}\n`);

const missing = missingPrograms(DEPLOY_PROGRAMS);
if (missing.length > 0) installPrograms(missing);
say(runProgram('haproxy', ['-v']).split('\n')[0] ?? '');
say(runProgram('prometheus', ['--version']).split('\n')[0] ?? '');
checkBalancerConfig();
checkPrometheusConfig();

const start = performance.now();
const folder = mkdtempSync(join(tmpdir(), 'looplm-deploy-'));
try {
  const faults = await playScenario({
    seed: flags.seed,
    numRequests: flags.requests,
    maxTokens: flags.tokens,
    numSessions: flags.sessions,
    folder,
    say,
  });
  for (const fault of faults) say(`FAULT ${fault}`);
  const seconds = Math.round((performance.now() - start) / 1000);
  say(`seed ${flags.seed}, ${seconds} s, ${faults.length} faults`);
  if (faults.length > 0) process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true });
}
