/** A task as a module of the user's: `export default { name, draw, reward }`. */
import { pathToFileURL } from 'node:url';
import { ConfigError } from '../../errors.js';
import { fileExists } from '../../platform/node/index.js';
import type { PolicyTask } from '../../rl/index.js';
import { showValue } from '../../util/quote.js';

const SHAPE = 'a task is an object with name, draw(rng, difficulty) and reward(answer, problem)';

/**
 * @param path - of a JavaScript module; it is run with the rights of the process
 * @throws ConfigError if it cannot be loaded, or exports no task
 */
export async function loadTask(path: string): Promise<PolicyTask> {
  if (!(await fileExists(path))) {
    throw new ConfigError(
      'task',
      `task names ${path}, which is not there. Name a JavaScript module.`,
    );
  }
  let module: { readonly default?: unknown };
  try {
    module = (await import(pathToFileURL(path).href)) as { default?: unknown };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError('task', `${path} cannot be loaded: ${message}. Correct it.`, { cause });
  }
  const { default: task } = module;
  if (isTask(task)) return task;
  throw new ConfigError(
    'task',
    `${path} exports ${showValue(task)} by default; ${SHAPE}. Export one by default.`,
  );
}

function isTask(value: unknown): value is PolicyTask {
  if (typeof value !== 'object' || value === null) return false;
  const { name, draw, reward } = value as Partial<Record<keyof PolicyTask, unknown>>;
  return typeof name === 'string' && typeof draw === 'function' && typeof reward === 'function';
}
