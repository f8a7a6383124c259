/**
 * What HAProxy's agent-check reads: one line for each connection to a port of its own, with the free
 * capacity of this replica as its weight.
 *
 * A replica that drains says `stopped`, and not `drain`: HAProxy still sends requests that stick to a
 * server to one that drains, and an administrator's own `drain` could not be told from it.
 * Source: HAProxy 2.6, configuration manual, agent-check.
 */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { Capacity } from '../../../serve/index.js';
import { bind } from './bind.js';

/** A port that answers. */
export interface AgentCheck extends AsyncDisposable {
  readonly port: number;
}

/** A balancer that neither reads nor leaves is left. */
const MAX_CONNECTION_MS = 5000;

/** The line for a capacity. A replica that takes requests keeps a weight: 0 would be none at all. */
export function agentLine({ freeFraction, isDraining }: Capacity): string {
  if (isDraining) return 'stopped #draining\n';
  return `up ${Math.max(1, Math.floor(freeFraction * 100))}%\n`;
}

/**
 * Answers every connection with the capacity of that moment.
 *
 * @param port - 0 for any that is free
 * @throws ConfigError if the address cannot be had
 */
export async function serveAgentCheck(
  capacity: () => Capacity,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<AgentCheck> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // whoever asked has gone
    socket.setTimeout(MAX_CONNECTION_MS, () => socket.destroy());
    socket.resume(); // what it sends is of no interest
    socket.end(agentLine(capacity()));
  });
  await bind(server, { host, port, field: 'agent-port' });
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
