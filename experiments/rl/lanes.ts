/**
 * Jobs in processes of one thread each, several at a time. Results do not depend on how many: a job
 * is a function of its settings, whoever runs beside it.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Job, Plan } from './jobs.js';

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url));

/** Exit code of a process that was asked to end. */
export const STOPPED = 130;

/**
 * Does all jobs, `lanes` at a time; when one fails or is stopped no others begin.
 *
 * @returns the exit code of the first that did not end well, or 0
 */
export async function runJobs(
  jobs: readonly Job[],
  plan: Plan,
  { lanes, signal }: { readonly lanes: number; readonly signal: AbortSignal },
): Promise<number> {
  const waiting = [...jobs];
  let code = 0;
  const lane = async () => {
    while (code === 0) {
      if (signal.aborted) code = STOPPED;
      const job = code === 0 ? waiting.shift() : undefined;
      if (job === undefined) return;
      const ended = await runJob(job, plan, signal);
      if (code === 0) code = ended;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return code;
}

function runJob(job: Job, plan: Plan, signal: AbortSignal): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = fork(WORKER, [JSON.stringify({ job, plan })]);
    const stop = () => child.kill('SIGINT');
    signal.addEventListener('abort', stop, { once: true });
    child.on('error', reject).on('close', (code) => {
      signal.removeEventListener('abort', stop);
      resolve(code ?? 1);
    });
  });
}
