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
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import type { QueuedJob, WorkQueue } from '../../../cluster/index.js';

/** Does again what failed since the server was away. */
export type Persist = <T>(attempt: () => Promise<T>) => Promise<T>;

/** Name of the consumer. */
const WORKERS = 'workers';
const NANOSECONDS = 1e9;
/** How much later than asked for an answer of the server may come. */
const GRACE_MS = 5000;
/** What the server calls acknowledgements. Source: the reference of JetStream. */
const [DONE, GIVEN_BACK, IN_PROGRESS] = ['+ACK', '-NAK', '+WPI'];
/** Statuses of an answer without a message: there is none, none came in time, the server is busy or leaving. */
const WITHOUT_MESSAGE = [404, 408, 409];

export interface QueueNames {
  /** Of the stream. */
  readonly name: string;
  /** Of its messages. */
  readonly subject: string;
}

export async function openNatsQueue(
  connection: NatsConnection,
  { name, subject }: QueueNames,
  silenceSeconds: number,
  persist: Persist,
): Promise<WorkQueue> {
  const client = jetstream(connection);
  const { streams, consumers } = await persist(() => jetstreamManager(connection));
  await persist(async () => {
    await streams.add({
      name,
      subjects: [subject],
      retention: RetentionPolicy.Workqueue,
      storage: StorageType.File,
    });
    await consumers.add(name, {
      durable_name: WORKERS,
      ack_policy: AckPolicy.Explicit,
      ack_wait: silenceSeconds * NANOSECONDS,
      max_ack_pending: -1,
    });
  });
  // A plain request: the library's own way to take one message gives up where the machine is busy for a second.
  const next = (waitSeconds: number) =>
    connection.request(
      `$JS.API.CONSUMER.MSG.NEXT.${name}.${WORKERS}`,
      JSON.stringify({ batch: 1, expires: waitSeconds * NANOSECONDS }),
      // what comes has the subject of its stream, by which the shared inbox would not know it
      { timeout: 1000 * waitSeconds + GRACE_MS, noMux: true },
    );
  const jobOf = (message: Msg): QueuedJob => {
    const tell = (what: string) =>
      persist(async () => {
        message.respond(what);
        await connection.flush();
      });
    return {
      text: message.string(),
      keep() {
        if (!connection.isClosed()) message.respond(IN_PROGRESS);
      },
      complete: () => tell(DONE),
      giveBack: () => tell(GIVEN_BACK),
    };
  };
  return {
    put: (text) => persist(async () => void (await client.publish(subject, text))),
    async take(waitSeconds) {
      const message = await persist(() => next(waitSeconds));
      return WITHOUT_MESSAGE.includes(message.headers?.code ?? 0) ? undefined : jobOf(message);
    },
    isEmpty: () =>
      persist(async () => {
        const { num_pending, num_ack_pending } = await consumers.info(name, WORKERS);
        return num_pending + num_ack_pending === 0;
      }),
    clear: () => persist(async () => void (await streams.purge(name))),
  };
}
