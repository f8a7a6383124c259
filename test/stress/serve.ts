/**
 * A soak of the server: random requests by clients that read, leave, dawdle or hang, with memory for a
 * quarter of them. Every request must be accounted for exactly once, nothing mixed up, and all memory
 * come back.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { TextTokenEvent } from '../../src/loop-lm.js';
import type { WireCompletionLogprobs, WireTokenLogprob } from '../../src/serve/wire/logprobs.js';
import { Draw } from '../draw.js';
import type { Model, TestServer } from '../serve/server.js';
import { PAGE_BYTES, loadModel, openServer } from '../serve/server.js';
import { metricsOf } from '../serve/metrics-text.js';
import { chunksOf, sseEvents } from '../serve/sse.js';
import type { ServeRequest } from './serve-requests.js';
import { drawServeRequest } from './serve-requests.js';

export interface SoakOptions {
  readonly seed: number;
  readonly count: number;
  /** Requests under way at a time, at most. */
  readonly maxOpen: number;
  /** Of the answered ones, so many are compared with running alone. */
  readonly numCompared: number;
  /** No more requests begin after it. */
  readonly deadline?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (line: string) => void;
}

export interface SoakReport {
  readonly counts: Readonly<Record<string, number>>;
  readonly numCompared: number;
  readonly numPreemptions: number;
  readonly faults: readonly string[];
}

/** What a client has of its answer. */
interface Answer {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly exitDepths: readonly (number | null)[];
  readonly logprobs: readonly (number | null)[];
}

interface Outcome {
  readonly request: ServeRequest;
  readonly end: 'answered' | 'left' | 'refused';
  readonly answer?: Answer;
}

/** Enough for a quarter of the planes that all requests would like to have, and for any one alone. */
const pagesFor = (maxOpen: number) => Math.max(16, maxOpen);
/** Words that keep the sample apart from other draws. */
const OF_SAMPLES = 4;
const SLOW_READER_MS = 2000;
const IDLE_LIMIT_MS = 60_000;

export async function soak(options: SoakOptions): Promise<SoakReport> {
  const { seed, count, maxOpen, numCompared, deadline = Infinity, signal, onProgress } = options;
  await using model = await loadModel({ maxKvBytes: pagesFor(maxOpen) * PAGE_BYTES });
  const ledger = new Ledger();
  await using server = await openServer(
    model,
    { log: (_, message, fields) => ledger.note(message, fields) },
    { slowReaderMs: SLOW_READER_MS },
  );
  const sample = new Sample<Outcome>(numCompared, seed);
  const faults: string[] = [];
  let next = 0;
  const client = async () => {
    while (next < count && performance.now() < deadline && !signal?.aborted) {
      const request = drawServeRequest(seed, next++);
      try {
        const outcome = await playRequest(server, request);
        ledger.end(outcome);
        if (outcome.end === 'answered') sample.add(outcome);
      } catch (error) {
        faults.push(`request ${request.index} of seed ${seed}: ${String(error)}`);
      }
      onProgress?.(`${ledger.numEnded} requests, ${faults.length} faults`);
    }
  };
  await Promise.all(Array.from({ length: maxOpen }, client));
  faults.push(...(await faultsAtRest(model, server)), ...ledger.faults());
  const counted = [...(await metricsOf(server))]
    .filter(([name]) => name.startsWith('vllm:request_success_total'))
    .reduce((sum, [, value]) => sum + value, 0);
  if (counted !== ledger.numLogged) {
    faults.push(`${counted} sequences counted, ${ledger.numLogged} logged`);
  }
  const { numPreemptions } = model.stats;
  await using alone = await loadModel();
  for (const outcome of sample.kept) faults.push(...(await compareAlone(alone, outcome, seed)));
  return { counts: ledger.counts, numCompared: sample.kept.length, numPreemptions, faults };
}

/** What clients saw of each request, and how often the server accounted for it; no more, however long. */
class Ledger {
  readonly counts: Record<string, number> = {};
  readonly #ends = new Map<string, Outcome['end']>();
  readonly #logged = new Map<string, number>();

  get numEnded(): number {
    return this.#ends.size;
  }

  get numLogged(): number {
    return [...this.#logged.values()].reduce((sum, times) => sum + times, 0);
  }

  end({ request, end }: Outcome): void {
    this.#ends.set(requestId(request), end);
    this.counts[end] = (this.counts[end] ?? 0) + 1;
  }

  note(message: string, { requestId: id }: Readonly<Record<string, unknown>>): void {
    if (message !== 'generation') return;
    this.#logged.set(String(id), (this.#logged.get(String(id)) ?? 0) + 1);
  }

  faults(): string[] {
    return [...this.#ends].flatMap(([id, end]) => {
      const times = this.#logged.get(id) ?? 0;
      // one that left may have gone before it was read
      const isRight = end === 'answered' ? times === 1 : end === 'left' ? times <= 1 : times === 0;
      return isRight ? [] : [`request ${id}, ${end}, was accounted for ${times} times`];
    });
  }
}

/** Some of many, each as likely as any other, however many come. */
class Sample<T> {
  readonly kept: T[] = [];
  readonly #size: number;
  readonly #draw: Draw;
  #numSeen = 0;

  constructor(size: number, seed: number) {
    this.#size = size;
    this.#draw = new Draw(seed, OF_SAMPLES);
  }

  add(item: T): void {
    const place = this.#draw.below(++this.#numSeen);
    if (this.kept.length < this.#size) this.kept.push(item);
    else if (place < this.#size) this.kept[place] = item;
  }
}

const requestId = ({ index }: ServeRequest) => `soak-${index}`;

function bodyOf({ route, body, stream }: ServeRequest): object {
  const { prompt, ...rest } = body;
  const asked = { ...rest, stream, return_token_ids: true };
  return route === '/v1/completions'
    ? { ...asked, prompt, logprobs: 1 }
    : { ...asked, messages: [{ role: 'user', content: prompt }], logprobs: true };
}

async function playRequest(server: TestServer, request: ServeRequest): Promise<Outcome> {
  const { behaviour, route, stream } = request;
  if (behaviour.kind === 'half-open') {
    await hangOn(server, request, behaviour.forMs);
    return { request, end: 'left' };
  }
  const controller = new AbortController();
  const init = { signal: controller.signal, headers: { 'x-request-id': requestId(request) } };
  const timer =
    behaviour.kind === 'leaves'
      ? setTimeout(() => controller.abort(), behaviour.afterMs)
      : undefined;
  try {
    const response = await server.ask(route, bodyOf(request), init);
    if (response.status === 429) {
      await response.text();
      return { request, end: 'refused' };
    }
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    if (!stream) {
      const whole = (await response.json()) as Part;
      return { request, end: 'answered', answer: answerOf([whole]) };
    }
    if (behaviour.kind === 'leaves-stream') {
      let numPieces = 0;
      for await (const { data } of sseEvents(response)) {
        JSON.parse(data === '[DONE]' ? '{}' : data);
        if (numPieces++ === behaviour.afterPieces) break;
      }
      controller.abort();
      return { request, end: 'left' };
    }
    const pauseMs = behaviour.kind === 'reads-slowly' ? behaviour.pauseMs : 0;
    return { request, end: 'answered', answer: answerOf(await chunksOf(response, pauseMs)) };
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    return { request, end: 'left' };
  } finally {
    clearTimeout(timer);
  }
}

/** Asks and reads nothing. */
async function hangOn(server: TestServer, request: ServeRequest, forMs: number): Promise<void> {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.pause();
  const json = JSON.stringify(bodyOf(request));
  const head = [
    `POST ${request.route} HTTP/1.1`,
    'host: localhost',
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(json)}`,
    `x-request-id: ${requestId(request)}`,
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${json}`);
  await sleep(forMs);
  socket.destroy();
}

/** What is common to the choices of all answers and chunks. */
interface PartChoice {
  readonly text?: string;
  readonly message?: { readonly content: string | null };
  readonly delta?: { readonly content?: string };
  readonly token_ids: readonly number[];
  readonly logprobs: Partial<WireCompletionLogprobs> & {
    readonly content?: readonly WireTokenLogprob[];
  };
}

interface Part {
  readonly choices: readonly PartChoice[];
}

/** The one choice of an answer, whole or in chunks. */
function answerOf(parts: readonly Part[]): Answer {
  const choices = parts.flatMap((part) => part.choices);
  const chat = choices.flatMap(({ logprobs }) => logprobs.content ?? []);

  const textOf = ({ text, message, delta }: PartChoice) =>
    text ?? (message ?? delta)?.content ?? '';
  return {
    text: choices.map(textOf).join(''),
    tokenIds: choices.flatMap((choice) => choice.token_ids),
    exitDepths: [
      ...chat.map((token) => token.exit_depth),
      ...choices.flatMap(({ logprobs }) => logprobs.exit_depths ?? []),
    ],
    logprobs: [
      ...chat.map((token) => token.logprob),
      ...choices.flatMap(({ logprobs }) => logprobs.token_logprobs ?? []),
    ],
  };
}

/** What is left behind when all clients are done. */
async function faultsAtRest(model: Model, server: TestServer): Promise<string[]> {
  const start = performance.now();
  const isBusy = () => model.stats.numRunning + model.stats.numWaiting > 0;
  while (isBusy() && performance.now() - start < IDLE_LIMIT_MS) await sleep(10);
  await server.drain(); // the last of them are being logged
  model.clearPrefixes();
  const { numRunning, numWaiting, numPagesUsed } = model.stats;
  return [
    ...(numRunning + numWaiting > 0 ? [`${numRunning + numWaiting} requests are left`] : []),
    ...(numPagesUsed > 0 ? [`${numPagesUsed} pages did not come back`] : []),
  ];
}

/** What of an answer in company is another than alone. */
async function compareAlone(
  alone: Model,
  { request, answer }: Outcome,
  seed: number,
): Promise<string[]> {
  const { body, options } = request;
  const tokens: TextTokenEvent[] = [];
  let text = '';
  for await (const event of alone.generate(body.prompt, { ...options, speculation: 'off' })) {
    if (event.kind === 'token') tokens.push(event);
    else ({ text } = event);
  }
  const expected: Answer = {
    text,
    tokenIds: tokens.map(({ tokenId }) => tokenId),
    exitDepths: tokens.map(({ exitDepth }) => exitDepth),
    logprobs: tokens.map(({ logprob }) => logprob),
  };
  if (isDeepStrictEqual(answer, expected)) return [];
  return [
    `request ${request.index} of seed ${seed}: alone ${JSON.stringify(expected)}, in company ${JSON.stringify(answer)}`,
  ];
}
