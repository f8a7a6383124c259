/** Machines that work together as processes, with a real server; all of it is `npm run test:cluster`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Draw } from '../draw.js';
import { missingPrograms } from '../programs.js';
import { SHORT_RL_SCENARIO } from './rl-scenarios.js';
import { SHORT_SCENARIO, playScenario } from './scenarios.js';

test.for([SHORT_SCENARIO, SHORT_RL_SCENARIO])(
  '%s: all end in the same model',
  async (name, context) => {
    const missing = missingPrograms(['nats-server']);
    if (missing.length > 0) context.skip('needs nats-server; npm run test:cluster installs it');
    const folder = mkdtempSync(join(tmpdir(), 'looplm-cluster-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const faults = await playScenario(name, { folder, draw: new Draw(2), say: () => {} });
    expect(faults).toEqual([]);
  },
);
