/**
 * Work in pieces over worker threads: each thread takes the next piece when it is done with one.
 *
 * A worker's entry file calls `serveTasks` with a function; `runTasks` starts the threads and ends
 * them, whatever happens. Tasks and results are plain data. It does not know what the work is.
 */
import { availableParallelism } from 'node:os';
import { Worker, parentPort, workerData } from 'node:worker_threads';
import { CheckpointError, ConfigError, FileError, assert } from '../../errors.js';
import { abortable } from '../../util/abortable.js';

/** How to run tasks. */
export interface TaskPoolOptions {
  /** Default: as many as cores. */
  readonly numWorkers?: number;
  /** Ends the threads; `runTasks` throws its reason. */
  readonly signal?: AbortSignal;
}

type Reply = { readonly result: unknown } | { readonly path?: string; readonly message: string };

/**
 * Runs all tasks and returns their results in the order of the tasks.
 *
 * @param entry - the compiled entry file of the worker.
 * @param shared - what every thread is given at its start.
 * @param onResult - called as tasks are done, in any order.
 * @throws CheckpointError or FileError that a task threw, what `onResult` throws, or the signal's
 *   reason.
 */
export async function runTasks<Task, Result>(
  entry: URL,
  shared: unknown,
  tasks: readonly Task[],
  onResult: (result: Result, task: Task) => void,
  { numWorkers = availableParallelism(), signal }: TaskPoolOptions = {},
): Promise<Result[]> {
  checkNumWorkers(numWorkers);
  signal?.throwIfAborted();
  const queue = tasks.entries();
  const results: Result[] = [];
  const threads = Array.from({ length: Math.min(numWorkers, tasks.length) }, () => {
    // Flags of the process, such as --input-type, need not suit the worker.
    return new Worker(entry, { workerData: shared, execArgv: [] });
  });
  try {
    const work = threads.map(async (thread) => {
      for (const [index, task] of queue) {
        const result = (await ask(thread, task)) as Result;
        results[index] = result;
        onResult(result, task);
      }
    });
    await abortable(Promise.all(work), signal);
    return results;
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

/**
 * Answers tasks, in a worker's entry file. `make` is given what `runTasks` shares; its function may be
 * asynchronous.
 */
export function serveTasks(make: (shared: never) => (task: never) => unknown): void {
  const port = parentPort;
  assert(port, 'tasks are served in a worker thread only');
  const work = make(workerData as never);
  const answer = async (task: unknown) => {
    try {
      port.postMessage({ result: await work(task as never) } satisfies Reply);
    } catch (error) {
      // Errors lose their class on the way; those of the user are told apart by their fields.
      if (!(error instanceof FileError || error instanceof CheckpointError)) throw error;
      const { message } = error;
      const reply: Reply = error instanceof FileError ? { path: error.path, message } : { message };
      port.postMessage(reply);
    }
  };
  port.on('message', (task) => void answer(task)); // a bug ends the thread
}

/** @throws ConfigError if it is not a positive integer. */
export function checkNumWorkers(numWorkers: number): void {
  if (Number.isInteger(numWorkers) && numWorkers >= 1 && numWorkers <= 1024) return;
  throw new ConfigError(
    'numWorkers',
    `The number of workers is ${numWorkers}; it must be an integer from 1 to 1024.`,
  );
}

function ask(thread: Worker, task: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (reply: Reply) => {
      settle();
      if ('result' in reply) resolve(reply.result);
      else if (reply.path === undefined) reject(new CheckpointError(reply.message));
      else reject(new FileError(reply.path, reply.message));
    };
    const onError = (error: unknown) => {
      settle();
      reject(error);
    };
    const onExit = () => onError(new Error('a worker thread ended before its work'));
    const settle = () => {
      thread.off('message', onMessage).off('error', onError).off('exit', onExit);
    };
    thread.on('message', onMessage).on('error', onError).on('exit', onExit);
    thread.postMessage(task);
  });
}
