/**
 * A store over NATS JetStream: records are a key-value bucket, objects an object store, queues streams, all named
 * after the run and kept on the server's disk.
 *
 * A call whose connection is lost waits for the server and is done again; what is waited for is told. Records
 * are read from the stream itself and not from a replica, so what was written is what is read.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { KV } from '@nats-io/kv';
import { Kvm } from '@nats-io/kv';
import type { ObjectStore } from '@nats-io/obj';
import { Objm } from '@nats-io/obj';
import type { NatsConnection } from '@nats-io/transport-node';
import type { SharedStore } from '../../../cluster/index.js';
import { ServerError } from '../../../errors.js';
import { abortable } from '../../../util/abortable.js';
import type { RunAddress } from './address.js';
import type { Persist } from './nats-queue.js';
import { openNatsQueue } from './nats-queue.js';
import { explain, isConflict, isPassing, messageOf } from './faults.js';
import { orStalled, readWhole } from './stall.js';

interface StoreOptions {
  readonly onNote: (line: string) => void;
  readonly signal: AbortSignal | undefined;
}

const RETRY_MS = 500;
/** What is waited for is told again after so long. */
const NOTE_MS = 15_000;
/** After an abort there is this time to say goodbye. */
const GRACE_MS = 3000;
/** Bytes of an object in one message, as far as the server takes them. */
const CHUNK_BYTES = 2 ** 20;

/** @throws whatever the server says, if it has no JetStream or refuses */
export async function openNatsStore(
  connection: NatsConnection,
  { server, run }: RunAddress,
  options: StoreOptions,
): Promise<SharedStore> {
  const bucket = `looplm-${run}`;
  const records = await new Kvm(connection).create(bucket, { allow_direct: false });
  const objects = await new Objm(connection).create(bucket);
  const streams = (await jetstreamManager(connection)).streams;
  const patience = new Patience(connection, server, options);
  const persist: Persist = (attempt) => patience.persist(attempt);
  return {
    name: `${server}/${run}`,
    read: (key) => persist(() => readRecord(records, key)),
    write: (key, text, revision) => persist(() => writeRecord(records, key, text, revision)),
    replace: (key, text) => persist(async () => void (await records.put(key, text))),
    remove: (key) => persist(() => records.purge(key)),
    putObject: (name, bytes) => persist(() => putObject(objects, name, bytes, chunkOf(connection))),
    getObject: (name) => persist(() => getObject(objects, name)),
    removeObject: (name) =>
      persist(async () => {
        await objects.delete(name);
        // Else a note of each object that ever was would stay.
        const filter = `$O.${bucket}.M.${encodeName(name)}`;
        await streams.purge(`OBJ_${bucket}`, { filter });
      }),
    objectNames: () =>
      persist(async () => {
        const all = await orStalled(objects.list());
        return all.filter(({ deleted }) => !deleted).map(({ name }) => name);
      }),
    queue: (name, silenceSeconds) =>
      openNatsQueue(
        connection,
        { name: `${bucket}-${name}`, subject: `looplm.${run}.${name}` },
        silenceSeconds,
        persist,
      ),
    close: () => connection.close(),
  };
}

async function readRecord(records: KV, key: string) {
  const entry = await records.get(key);
  if (entry?.operation !== 'PUT') return undefined;
  return { text: entry.string(), revision: entry.revision };
}

async function writeRecord(records: KV, key: string, text: string, revision: number) {
  try {
    await (revision === 0 ? records.create(key, text) : records.update(key, text, revision));
    return true;
  } catch (error) {
    if (isConflict(error)) return false;
    throw error;
  }
}

async function putObject(objects: ObjectStore, name: string, bytes: Uint8Array, chunk: number) {
  const found = await objects.info(name);
  if (found && !found.deleted) return;
  let offset = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (offset >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(offset, (offset += chunk)));
    },
  });
  await objects.put({ name, options: { max_chunk_size: chunk } }, stream);
}

const chunkOf = ({ info }: NatsConnection) => Math.min(CHUNK_BYTES, info?.max_payload ?? Infinity);

async function getObject(objects: ObjectStore, name: string): Promise<Uint8Array | undefined> {
  const found = await objects.get(name);
  if (!found) return undefined;
  found.error.catch(() => {}); // the stream gives it, too
  return readWhole(name, found.data, found.info.size);
}

/** As the object store names its messages. */
const encodeName = (name: string) =>
  Buffer.from(name).toString('base64').replaceAll('+', '-').replaceAll('/', '_');

/** Does again what failed since the server was away, and tells that it waits. */
class Patience {
  readonly #server: string;
  readonly #options: StoreOptions;
  readonly #connection: NatsConnection;
  #isConnected = true;
  #notedAt = -Infinity;
  /** Rejects some time after the signal has aborted. */
  readonly #end: Promise<never>;

  constructor(connection: NatsConnection, server: string, options: StoreOptions) {
    this.#connection = connection;
    this.#server = server;
    this.#options = options;
    void this.#follow();
    const { signal } = options;
    this.#end = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => {
        setTimeout(() => reject(signal.reason as Error), GRACE_MS).unref();
      });
    });
    this.#end.catch(() => {});
  }

  async persist<T>(attempt: () => Promise<T>): Promise<T> {
    const { signal } = this.#options;
    for (;;) {
      try {
        await this.#connected();
        return await Promise.race([attempt(), this.#end]);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (this.#connection.isClosed()) throw await this.#closed();
        if (!isPassing(error)) throw explain(error, this.#server);
        this.#note(`waiting for the NATS server ${this.#server}: ${messageOf(error)}`);
        await abortable(wait(RETRY_MS), signal);
      }
    }
  }

  /** Waits until there is a connection: what is sent meanwhile would only come late. */
  async #connected(): Promise<void> {
    while (!this.#isConnected && !this.#connection.isClosed()) {
      this.#note(`lost the connection to the NATS server ${this.#server}; waiting for it`);
      await abortable(wait(RETRY_MS), this.#options.signal);
    }
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.#connection.status()) {
      if (type === 'disconnect') this.#isConnected = false;
      if (type !== 'reconnect') continue;
      this.#isConnected = true;
      this.#notedAt = -Infinity;
      this.#options.onNote(`connected to the NATS server ${this.#server} again`);
    }
  }

  #note(line: string): void {
    if (performance.now() - this.#notedAt < NOTE_MS) return;
    this.#notedAt = performance.now();
    this.#options.onNote(line);
  }

  async #closed(): Promise<ServerError> {
    const cause = await this.#connection.closed();
    const why = cause ? `: ${messageOf(cause)}` : '';
    return new ServerError(
      `The NATS server ${this.#server} does not let us in any more${why}. Check the login; the same command goes on.`,
      { cause },
    );
  }
}
