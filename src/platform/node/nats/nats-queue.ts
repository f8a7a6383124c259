/**
 * A queue over NATS JetStream: a stream that keeps a message until it is acknowledged, and one consumer that
 * all who take jobs share.
 *
 * What is taken and not acknowledged in time is delivered again; so are acknowledgements that a killed server
 * had not written down.
 */
import {
  AckPolicy,
  RetentionPolicy,
  StorageType,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import type { JsMsg } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { QueuedJob, WorkQueue } from '../../../cluster/index.js';

/** Does again what failed since the server was away. */
export type Persist = <T>(attempt: () => Promise<T>) => Promise<T>;

/** Name of the consumer. */
const WORKERS = 'workers';
const NANOSECONDS = 1e9;

/** @param name - of the stream, and of the subject of its messages */
export async function openNatsQueue(
  connection: NatsConnection,
  name: string,
  silenceSeconds: number,
  persist: Persist,
): Promise<WorkQueue> {
  const client = jetstream(connection);
  const { streams, consumers } = await persist(() => jetstreamManager(connection));
  const consumer = await persist(async () => {
    await streams.add({
      name,
      subjects: [name],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
    });
    await consumers.add(name, {
      durable_name: WORKERS,
      ack_policy: AckPolicy.Explicit,
      ack_wait: silenceSeconds * NANOSECONDS,
      max_ack_pending: -1,
    });
    return client.consumers.get(name, WORKERS);
  });
  const jobOf = (message: JsMsg): QueuedJob => ({
    text: message.string(),
    keep: () => message.working(),
    async complete() {
      message.ack();
      await persist(() => connection.flush());
    },
    async giveBack() {
      message.nak();
      await persist(() => connection.flush());
    },
  });
  return {
    put: (text) => persist(async () => void (await client.publish(name, text))),
    async take(waitSeconds) {
      const message = await persist(() => consumer.next({ expires: 1000 * waitSeconds }));
      return message ? jobOf(message) : undefined;
    },
    isEmpty: () =>
      persist(async () => {
        const { num_pending, num_ack_pending } = await consumer.info();
        return num_pending + num_ack_pending === 0;
      }),
    clear: () => persist(async () => void (await streams.purge(name))),
  };
}
