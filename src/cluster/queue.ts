/**
 * Jobs that several machines share out: each is done by whoever takes it first, and by another one if that
 * machine falls silent. So a job is done at least once, and whoever takes what came of it must know what it
 * has already.
 */

/** A job that this machine holds. */
export interface QueuedJob {
  readonly text: string;
  /** Says that it is still worked on; to be said several times in the silence that the queue allows. */
  keep(): void;
  /** Takes it out of the queue. */
  complete(): Promise<void>;
  /** Lets another machine take it at once. */
  giveBack(): Promise<void>;
}

/** Throws as `SharedStore` does. */
export interface WorkQueue {
  put(text: string): Promise<void>;
  /**
   * The oldest job that nobody holds.
   *
   * @param waitSeconds - from 1; how long to wait for one
   * @returns undefined if none came
   */
  take(waitSeconds: number): Promise<QueuedJob | undefined>;
  /** Whether there is no job, those included that somebody holds. */
  isEmpty(): Promise<boolean>;
  /** Removes all jobs, those included that somebody holds. */
  clear(): Promise<void>;
}
