/** Listening at an address, or one sentence why not. */
import type { Server } from 'node:net';
import { ConfigError } from '../../../errors.js';
import { quote } from '../../../util/quote.js';

interface Address {
  readonly host: string;
  readonly port: number;
  /** The setting that the port is from, for errors. */
  readonly field?: 'port' | 'agent-port';
}

/** @throws ConfigError if the address cannot be had */
export async function bind(server: Server, { host, port, field = 'port' }: Address): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(bindError(error, { host, port, field })),
    );
    server.listen(port, host, resolve);
  });
  server.removeAllListeners('error');
}

function bindError(error: NodeJS.ErrnoException, { host, port, field }: Required<Address>): Error {
  switch (error.code) {
    case 'EADDRINUSE':
      return new ConfigError(
        field,
        `Port ${port} of ${host} is taken by another program. Choose another one${field === 'port' ? ', or 0 for any that is free' : ''}.`,
      );
    case 'EACCES':
      return new ConfigError(
        field,
        `Port ${port} may not be opened by this user. Choose one from 1024 up.`,
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EINVAL':
      return new ConfigError(
        'host',
        `The host is ${quote(host)}, which is no address of this machine. Use 127.0.0.1, or 0.0.0.0 for all.`,
      );
    default:
      return error;
  }
}
