/** The store of a run of several machines. What speaks with it is loaded when it is asked for. */
import type { SharedStore } from '../../cluster/index.js';
import type { ConnectRunOptions } from './nats/index.js';

/**
 * Connects to `nats://HOST:PORT/RUN`.
 *
 * @throws ConfigError for an address that is none; ServerError if the server cannot be reached, does not let
 * us in, or has no JetStream; FileError if a file of credentials cannot be read
 */
export async function connectRun(
  address: string,
  options: ConnectRunOptions,
): Promise<SharedStore> {
  const nats = await import('./nats/index.js');
  return nats.connectRun(address, options);
}
