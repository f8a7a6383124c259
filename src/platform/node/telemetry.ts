/**
 * Keeps ONNX Runtime from reporting on its users.
 *
 * From version 1.29 on, the library reads the machine id and the command line when it starts, writes
 * a device id and a database of events into the user's cache and sends them to its maker. It starts
 * without all this where the environment of the process holds `ORT_DISABLE_TELEMETRY`, and looks once.
 * Only the main thread can change that environment: `process.env` of a worker thread is a copy.
 * Source: docs/decisions/2026-11-28-telemetry.md; docs/Privacy.md of ONNX Runtime.
 */
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { UnsupportedError } from '../../errors.js';

const SWITCH = 'ORT_DISABLE_TELEMETRY';
/** Says to the threads that this one starts that the switch is set. */
const MARK = 'looplm: ONNX Runtime sends no telemetry';
/** For a main thread that is computing; it answers between two of its statements. */
const MAX_WAIT_MS = 10_000;

if (isMainThread) {
  process.env[SWITCH] = '1';
  setEnvironmentData(MARK, true);
}

/**
 * Switches telemetry off for this process, before the library is loaded. In the main thread importing
 * this file does it; in the thread of somebody else the main thread is asked to.
 *
 * @throws UnsupportedError if the main thread cannot be asked
 */
export async function switchOffTelemetry(): Promise<void> {
  if (getEnvironmentData(MARK) === true) return;
  if (!(await setInMainThread()) && !isInEnvironment()) {
    throw new UnsupportedError(
      `looplm was loaded in a worker thread that cannot reach its main thread, so it cannot keep ONNX Runtime from sending telemetry. Import 'looplm/node' in the main thread before the worker starts, or start the program with ${SWITCH}=1.`,
    );
  }
  setEnvironmentData(MARK, true);
}

/** Has the main thread set the switch; false if it does not answer, or must not be asked. */
async function setInMainThread(): Promise<boolean> {
  try {
    const { Session } = await import('node:inspector');
    const session = new Session();
    session.connectToMainThread();
    const isSet = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), MAX_WAIT_MS);
      const expression = `process.env.${SWITCH} = '1'`;
      session.post('Runtime.evaluate', { expression }, (error, answer) => {
        clearTimeout(timer);
        resolve(error === null && answer.result.value === '1');
      });
    });
    session.disconnect();
    return isSet;
  } catch {
    return false; // of a Node without inspector, or under --permission
  }
}

/** Whether the process itself has the switch, not just this thread's copy of the environment. */
function isInEnvironment(): boolean {
  const report = process.report.getReport() as { environmentVariables?: Record<string, string> };
  return report.environmentVariables?.[SWITCH] === '1';
}
