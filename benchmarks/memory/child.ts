/** A measured process: runs the scenario that its parent names and sends what it found. */
import type { Scenario } from './scenarios.js';
import { runScenario } from './scenarios.js';

process.send!(await runScenario(JSON.parse(process.argv[2]!) as Scenario));
process.disconnect();
