/**
 * What machines that work on one thing share: small records that change by compare-and-set, and objects
 * of any size.
 *
 * The one idea: machines never talk to each other. What they must agree on is a record that the first to
 * write it decides; what is large is an object whose name says what is in it; work is shared out by queues. So
 * any of them may stop, and come back, at any moment. Knows neither a protocol (platform/node/nats) nor what is stored.
 */
import type { WorkQueue } from './queue.js';

/** A record as it is in the store. */
export interface StoredRecord {
  readonly text: string;
  /** Changes with each writing. */
  readonly revision: number;
}

/**
 * A store that several machines reach. Where the connection is lost, every call waits until it is back and
 * tries again; so what says that it failed to write may have written.
 *
 * @throws CapacityError if the store is full; the signal's reason when it aborts
 */
export interface SharedStore {
  /** What to call it in messages. */
  readonly name: string;
  /** A record as it is now; undefined if there is none. */
  read(key: string): Promise<StoredRecord | undefined>;
  /**
   * Compare-and-set.
   *
   * @param revision - of the record that was read; 0 for none
   * @returns whether it was written, which is only if it still was as it had been read
   */
  write(key: string, text: string, revision: number): Promise<boolean>;
  /** Writes a record, whatever was there. */
  replace(key: string, text: string): Promise<void>;
  /** Removes a record, if there is one. */
  remove(key: string): Promise<void>;
  /** Stores an object. Under a name that is taken nothing is done. */
  putObject(name: string, bytes: Uint8Array): Promise<void>;
  /** An object; undefined if there is none. */
  getObject(name: string): Promise<Uint8Array | undefined>;
  /** Removes an object, if there is one. */
  removeObject(name: string): Promise<void>;
  objectNames(): Promise<readonly string[]>;
  /**
   * The queue of that name, made if there is none.
   *
   * @param silenceSeconds - a job whose holder has said nothing for so long is given to another; the same for
   * all who open it
   */
  queue(name: string, silenceSeconds: number): Promise<WorkQueue>;
  /** Lets go of the connection. Nothing is removed. */
  close(): Promise<void>;
}
