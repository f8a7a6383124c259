/**
 * Trying again after failures that pass: a lost connection, a busy server.
 *
 * A task says by a `TransientError` that trying again may help; after anything else it is over. It
 * knows neither requests nor files.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { DownloadError } from '../../../errors.js';

/** How long to wait between tries; handed in, so that tests do not wait. */
export interface Patience {
  /** Milliseconds before the second try, the third, ...; there is one more try than delays. */
  readonly delaysMs: readonly number[];
  /** Rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

/** Gives up after half a minute without progress. */
export const PATIENCE: Patience = {
  delaysMs: [1000, 2000, 4000, 8000, 16_000],
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { ...(signal && { signal }) }).catch(() => signal?.throwIfAborted());
  },
};

/** A server may ask for a longer wait than ours, but not for one of any length. */
const MAX_WAIT_MS = 300_000;

/** A failure that may pass. The message is a sentence without a full stop. */
export class TransientError extends Error {
  override readonly name = 'TransientError';
  /** The server asked to wait this long. */
  readonly waitMs: number;

  constructor(message: string, options: { cause?: unknown; waitMs?: number } = {}) {
    super(message, options);
    this.waitMs = options.waitMs ?? 0;
  }
}

export interface RetryOptions extends Patience {
  readonly signal?: AbortSignal | undefined;
  /** Something that grows as the task gets on; a try that got further starts the count anew. */
  progress?(): number;
  onRetry?(why: string, waitMs: number): void;
}

/**
 * Runs a task until it succeeds, as long as it throws `TransientError` and patience lasts.
 *
 * @throws DownloadError with the last reason when patience is at its end; the signal's reason.
 */
export async function withRetries<T>(task: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { delaysMs, sleep, signal, progress = () => 0, onRetry } = options;
  let best = progress();
  for (let failures = 0; ;) {
    signal?.throwIfAborted();
    try {
      return await task();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      if (progress() > best) failures = 0;
      best = Math.max(best, progress());
      const delayMs = delaysMs[failures++];
      if (delayMs === undefined) fail(error, `tried ${failures} times`);
      if (error.waitMs > MAX_WAIT_MS) fail(error, 'too long to wait for');
      const waitMs = Math.max(delayMs, error.waitMs);
      onRetry?.(error.message, waitMs);
      await sleep(waitMs, signal);
    }
  }
}

function fail(error: TransientError, why: string): never {
  const message = `${error.message} (${why}). What is downloaded is kept: run it again later.`;
  throw new DownloadError(message, { cause: error.cause ?? error });
}
