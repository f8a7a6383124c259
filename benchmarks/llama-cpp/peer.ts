/**
 * A peer: one program in a child process that answers "how fast" about one model.
 *
 * Both sides of the comparison speak this protocol, so the parent measures them the same way, and
 * both stay loaded while the other is measured. A peer that is not asked must not use the processor.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a peer loads before it answers. */
export interface PeerSettings {
  /** GGUF file or model folder. */
  readonly path: string;
  readonly numThreads: number;
  /** Ids are drawn from 0 to below it. */
  readonly vocabSize: number;
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

/** Benchmarks of other questions have requests and answers of their own. */
export interface Peer<Request = PeerRequest, Answer = PeerAnswer> {
  readonly facts: PeerFacts;
  answer(request: Request): Promise<Answer>;
}

type Reply<T> = { readonly value: T } | { readonly error: string };

/** In the child: loads the peer that the parent describes and answers until the parent is gone. */
export function servePeer<Request = PeerRequest, Answer = PeerAnswer>(
  load: (settings: PeerSettings) => Promise<Peer<Request, Answer>>,
): void {
  let peer: Peer<Request, Answer> | undefined;
  const reply = async (message: unknown): Promise<PeerFacts | Answer> => {
    if (peer) return peer.answer(message as Request);
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
export interface RemotePeer<Request = PeerRequest, Answer = PeerAnswer>
  extends Peer<Request, Answer>, AsyncDisposable {}

/** Starts a program that serves a peer as a child process and waits until it has loaded. */
export async function startPeer<Request extends object = PeerRequest, Answer = PeerAnswer>(
  program: URL,
  settings: PeerSettings,
): Promise<RemotePeer<Request, Answer>> {
  const path = fileURLToPath(program);
  const child = fork(path, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const name = basename(path);
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
    answer: (request) => ask<Answer>(request),
    async [Symbol.asyncDispose]() {
      child.disconnect();
      await ended.catch(() => {});
    },
  };
}
