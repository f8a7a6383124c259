/** The process of one job, which `lanes.ts` starts, with one thread. Ctrl-C saves what it has come to. */
import { LoopLMError } from 'looplm/errors';
import { createNodeDevice } from 'looplm/node';
import { doJob } from './do-job.js';
import type { Job, Plan } from './jobs.js';
import { STOPPED } from './lanes.js';

const { job, plan } = JSON.parse(process.argv[2]!) as { readonly job: Job; readonly plan: Plan };
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
const device = await createNodeDevice({ numThreads: 1 });
try {
  const isDone = await doJob(job, {
    plan,
    device,
    signal: stop.signal,
    print: (line) => console.log(line),
  });
  process.exitCode = isDone ? 0 : STOPPED;
} catch (error) {
  if (!(error instanceof LoopLMError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
} finally {
  await device.dispose();
}
process.disconnect?.();
