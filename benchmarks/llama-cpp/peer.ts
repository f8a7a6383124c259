/**
 * A peer: one program in a child process that answers "how fast" about one model.
 *
 * Both sides of the comparison speak this protocol, so the parent measures them the same way, and
 * both stay loaded while the other is measured. A peer that is not asked must not use the processor.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What a peer loads before it answers. */
export interface PeerSettings {
  /** GGUF file or model folder. */
  readonly path: string;
  readonly numThreads: number;
  /** Numbers of cached positions that decoding is asked at. */
  readonly contexts: readonly number[];
  readonly seed: number;
}

/** What a peer says once it has loaded. */
export interface PeerFacts {
  /** What it chose by itself, such as a library for this processor. */
  readonly setup: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** What is timed; a variant is one of the names in the peer's facts. */
export type PeerRequest =
  | {
      readonly ask: 'decode';
      readonly variant: string;
      readonly context: number;
      readonly numTokens: number;
    }
  | { readonly ask: 'prefill'; readonly variant: string; readonly numTokens: number };

/** Milliseconds: one entry a token for `decode`, one in all for `prefill`. */
export type PeerAnswer = readonly number[];

export interface Peer {
  readonly facts: PeerFacts;
  answer(request: PeerRequest): Promise<PeerAnswer>;
}

type Reply<T> = { readonly value: T } | { readonly error: string };

/** In the child: loads the peer that the parent describes and answers until the parent is gone. */
export function servePeer(load: (settings: PeerSettings) => Promise<Peer>): void {
  let peer: Peer | undefined;
  const reply = async (message: unknown): Promise<PeerFacts | PeerAnswer> => {
    if (peer) return peer.answer(message as PeerRequest);
    peer = await load(message as PeerSettings);
    return peer.facts;
  };
  process.on('message', (message) => {
    void reply(message).then(
      (value) => process.send!({ value }),
      (error: unknown) => process.send!({ error: error instanceof Error ? error.stack : error }),
    );
  });
  process.on('disconnect', () => process.exit());
}

/** In the parent: a peer in a process of its own, loaded. `dispose` ends the process. */
export interface RemotePeer extends Peer, AsyncDisposable {}

/** Starts `NAME.js` of this folder as a child process and waits until it has loaded. */
export async function startPeer(name: string, settings: PeerSettings): Promise<RemotePeer> {
  const child = fork(fileURLToPath(new URL(`./${name}.js`, import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${name} ended with code ${code}`);
  });
  ended.catch(() => {}); // awaited only while a request is open
  const ask = async <T>(message: object): Promise<T> => {
    child.send(message);
    const [reply] = (await Promise.race([once(child, 'message'), ended])) as [Reply<T>];
    if ('error' in reply) throw new Error(`${name}: ${reply.error}`);
    return reply.value;
  };
  const facts = await ask<PeerFacts>(settings);
  return {
    facts,
    answer: (request) => ask<PeerAnswer>(request),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await ended.catch(() => {});
    },
  };
}
