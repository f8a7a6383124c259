import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import type { Capacity } from '../../../serve/index.js';
import { agentLine, serveAgentCheck } from './agent-check.js';

const free = (freeFraction: number): Capacity => ({ freeFraction, isDraining: false });

test.each([
  [1, 'up 100%\n'],
  [0.75, 'up 75%\n'],
  [0.259, 'up 25%\n'],
])('the free part %d is the weight %j', (fraction, line) => {
  expect(agentLine(free(fraction))).toBe(line);
});

test('a replica that takes requests keeps a weight, however full', () => {
  expect(agentLine(free(0))).toBe('up 1%\n');
});

test('a replica that drains takes nothing, however free', () => {
  expect(agentLine({ freeFraction: 1, isDraining: true })).toBe('stopped #draining\n');
});

/** What a balancer reads in one connection, which the other side ends. */
async function read(port: number, sends = ''): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(sends);
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => (text += part));
  await once(socket, 'end');
  socket.destroy();
  return text;
}

test('every connection gets one line with the capacity of its moment', async () => {
  let capacity = free(1);
  await using agent = await serveAgentCheck(() => capacity, { host: '127.0.0.1', port: 0 });
  expect(await read(agent.port)).toBe('up 100%\n');
  capacity = free(0.5);
  expect(await read(agent.port, 'looplm/replica-1\n')).toBe('up 50%\n');
  capacity = { freeFraction: 0.5, isDraining: true };
  const answers = await Promise.all(Array.from({ length: 20 }, () => read(agent.port)));
  expect(new Set(answers)).toEqual(new Set(['stopped #draining\n']));
});

test('a balancer that breaks off harms nothing', async () => {
  await using agent = await serveAgentCheck(() => free(1), { host: '127.0.0.1', port: 0 });
  const socket = connect(agent.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.resetAndDestroy();
  expect(await read(agent.port)).toBe('up 100%\n');
});

test('closing ends the connections that are open', async () => {
  const agent = await serveAgentCheck(() => free(1), { host: '127.0.0.1', port: 0 });
  const socket = connect({ port: agent.port, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  await agent[Symbol.asyncDispose]();
  await expect(read(agent.port)).rejects.toThrow('ECONNREFUSED');
  socket.destroy();
});

test('a port that is taken is one sentence about the setting', async () => {
  await using agent = await serveAgentCheck(() => free(1), { host: '127.0.0.1', port: 0 });
  const again = serveAgentCheck(() => free(1), { host: '127.0.0.1', port: agent.port });
  await expect(again).rejects.toMatchObject({
    field: 'agent-port',
    message: expect.stringContaining(`Port ${agent.port} of 127.0.0.1 is taken`),
  });
});
